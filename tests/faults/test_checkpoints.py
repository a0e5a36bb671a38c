"""Checkpoints are whole or don't count, and old ones go only after the new one is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jal_hf.training.checkpoints as checkpoints
from jal_hf.runs.folder import clear_the_way, find_start
from jal_hf.training.checkpoints import (
    checkpoint_folders,
    is_complete,
    last_complete_checkpoint,
    mark_complete,
)
from tests.faults.helpers import assert_resumes_to, trainer_in, weights_after


def test_checkpoint_counts_only_with_all_its_files_in_full(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"12345")
    assert not is_complete(checkpoint)
    mark_complete(checkpoint)
    assert is_complete(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"123")
    assert not is_complete(checkpoint)


def test_checkpoints_are_ordered_by_number_and_not_by_name(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "file").write_text("x")
        mark_complete(tmp_path / f"checkpoint-{step}")
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_resume_removes_a_checkpoint_cut_off_in_its_middle_and_goes_on_from_the_one_before(
    tmp_path: Path,
) -> None:
    expected = weights_after(tmp_path / "whole")
    folder = tmp_path / "cut"
    trainer_in(folder, max_steps=12).train()
    (folder / "checkpoint-12" / "complete.json").unlink()
    (folder / "checkpoint-12" / "trainer_state.json").unlink()
    assert find_start(folder, overwrite=False, resume="auto") == str(folder / "checkpoint-8")
    clear_the_way(folder, overwrite=False, resume="auto")
    assert not (folder / "checkpoint-12").exists()
    assert_resumes_to(folder, expected)


def test_old_checkpoint_stays_until_the_new_one_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(checkpoint: Path) -> None:
        if checkpoint.name == "checkpoint-8":
            raise KeyboardInterrupt
        mark_complete(checkpoint)

    monkeypatch.setattr(checkpoints, "mark_complete", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer_in(tmp_path, save_total_limit=1).train()
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-4"


@pytest.mark.parametrize(("limit", "kept"), [(1, ["checkpoint-20"]), (2, ["checkpoint-16", "checkpoint-20"])])
def test_save_total_limit_keeps_the_newest(limit: int, kept: list[str], tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, save_total_limit=limit)
    trainer.train()
    assert [path.name for path in checkpoint_folders(tmp_path)] == kept
    assert trainer.args.save_total_limit == limit


def test_save_total_limit_keeps_the_best_one_too(tmp_path: Path) -> None:
    best: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "metric_for_best_model": "accuracy",
        "load_best_model_at_end": True,
    }
    trainer = trainer_in(tmp_path, save_total_limit=1, **best)
    trainer.train()
    names = {path.name for path in checkpoint_folders(tmp_path)}
    assert names == {Path(str(trainer.state.best_model_checkpoint)).name, "checkpoint-20"}


def test_resume_after_the_last_step_trains_no_further(tmp_path: Path) -> None:
    # The parent trains one step more when a run of max_steps ends within an epoch.
    expected = weights_after(tmp_path)
    assert_resumes_to(tmp_path, expected)


def test_log_repeats_no_step_after_a_resume(tmp_path: Path) -> None:
    changes = {"eval_strategy": "steps", "eval_steps": 4, "logging_steps": 2}
    trainer_in(tmp_path, max_steps=12, **changes).train()
    trainer = trainer_in(tmp_path, **changes)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    from jal_hf.ground.record import read_log

    lines = [(line["step"], "eval_loss" in line, "train_runtime" in line) for line in read_log(tmp_path)]
    assert len(lines) == len(set(lines))
    assert [step for step, evaluated, closing in lines if not evaluated and not closing] == list(
        range(2, 21, 2)
    )
    assert [step for step, evaluated, _ in lines if evaluated] == [4, 8, 12, 16, 20]
