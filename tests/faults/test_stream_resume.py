"""A stream has no length, so a run goes over it again and again; it resumes in the pass in which it was killed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jal_hf import JALTrainer, JALTrainingArguments, create_model, load_noisy_dataset
from jal_hf.data import make_image_dataset
from tests.distributed.scenarios import parameters_of

ROWS, STEPS = 100, 40


def trainer_in(folder: Path, **changes: Any) -> JALTrainer:
    """A run over a stream of 100 rows in batches of 8: 12 full ones and one of 4 in each pass."""
    data = load_noisy_dataset(
        "digits", noise="symmetric:0.4,mode=iid", streaming=True, max_train_samples=ROWS
    )
    stream = make_image_dataset(
        data["train"], image_column="image", label_column="label", image_size=8, in_chans=1, mean=[0.3],
        std=[0.4], augment="crop-flip", train=True, shuffle_buffer=30,
    )  # fmt: skip
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "max_steps": STEPS, "per_device_train_batch_size": 8, "learning_rate": 0.05, "optim": "sgd",
        "save_strategy": "steps", "save_steps": 1, "report_to": "none", "disable_tqdm": True, "use_cpu": True,
    }  # fmt: skip
    args = JALTrainingArguments(output_dir=str(folder), **settings | changes)
    model = create_model("jal_digits_cnn", num_labels=10, image_size=8, in_chans=1)
    return JALTrainer(model=model, args=args, loss="jal-ce", train_dataset=stream)


def weights_after(folder: Path, checkpoint: Path | None = None, **changes: Any) -> dict[str, Tensor]:
    trainer = trainer_in(folder, **changes)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return parameters_of(trainer.model)


@pytest.mark.parametrize(
    "changes",
    [{}, {"gradient_accumulation_steps": 2, "max_steps": 20}, {"dataloader_num_workers": 2}],
    ids=["plain", "accumulation", "workers"],
)
def test_stream_resumes_byte_equal_in_every_pass(tmp_path: Path, changes: dict[str, Any]) -> None:
    expected = weights_after(tmp_path, **changes)
    last = changes.get("max_steps", STEPS)
    # In the first pass, at its end, just after it, in the third pass, and before the last step.
    for step in (4, 6, 7, 13, 14, 30, last - 1):
        if step < last:
            found = weights_after(tmp_path / "resumed", tmp_path / f"checkpoint-{step}", **changes)
            assert all(torch.equal(found[name], expected[name]) for name in expected), step


def test_stream_resumes_byte_equal_when_more_steps_are_asked_for(tmp_path: Path) -> None:
    constant = {"lr_scheduler_type": "constant"}
    expected = weights_after(tmp_path / "long", **constant)
    trainer_in(tmp_path / "short", max_steps=20, **constant).train()
    found = weights_after(tmp_path / "resumed", tmp_path / "short/checkpoint-20", **constant)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_each_pass_over_a_stream_has_draws_of_its_own(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, save_strategy="no")
    epochs: list[int] = []
    stream = trainer.train_dataset
    set_epoch = stream.set_epoch
    stream.set_epoch = lambda epoch: (epochs.append(epoch), set_epoch(epoch))
    trainer.train()
    assert epochs == sorted(epochs)
    # As often told each: a pass that begins with the number before it has that one's draws on several processes.
    assert len(set(Counter(epochs).values())) == 1
    assert set(epochs) == {0, 1, 2, 3}
