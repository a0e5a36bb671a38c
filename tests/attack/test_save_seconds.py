"""A checkpoint by time: due at the end of a step, and the run's result stays what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jal_hf.training.checkpoints import checkpoint_folders
from tests.distributed.scenarios import parameters_of
from tests.faults.helpers import trainer_in, weights_after


def test_checkpoint_is_written_when_its_time_has_come_and_resumes_byte_equal(tmp_path: Path) -> None:
    expected = weights_after(tmp_path / "whole", save_strategy="no")
    trainer = trainer_in(tmp_path / "timed", save_strategy="no", save_seconds=10.0, max_steps=20)
    seconds = iter(range(0, 10_000, 3))
    trainer.checkpoints.clock = lambda: float(next(seconds))
    trainer.train()
    found = [path.name for path in checkpoint_folders(tmp_path / "timed")]
    # The clock is read at the start, after each step, and after each save: 3 s apart, so 12 s are 4 steps.
    assert found == [f"checkpoint-{step}" for step in range(4, 21, 4)]
    again = trainer_in(tmp_path / "timed", save_strategy="no", max_steps=20)
    again.train(resume_from_checkpoint=str(tmp_path / "timed" / "checkpoint-8"))
    weights = parameters_of(again.model)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_without_the_setting_no_clock_is_read(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, save_strategy="no", max_steps=3)
    trainer.train()
    assert checkpoint_folders(tmp_path) == []


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_time_of_nothing_is_refused(seconds: float, tmp_path: Path) -> None:
    from jal_hf import JALTrainingArguments

    with pytest.raises(ValueError, match="save_seconds"):
        JALTrainingArguments(output_dir=str(tmp_path), save_seconds=seconds)
