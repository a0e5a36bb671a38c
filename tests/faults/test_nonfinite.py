"""A loss that is not finite stops the run before it reaches a checkpoint, or its step is left out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jal_hf import JALTrainer
from jal_hf.ground.run_log import read_log
from jal_hf.training.checkpoints import checkpoint_folders, last_complete_checkpoint
from jal_hf.training.failures import NonFiniteLossError
from tests.distributed.scenarios import WithBatchNorm, make_trainer, parameters_of
from tests.faults.helpers import AtStep, assert_resumes_to, trainer_in, weights_after

POISONED_ROW = 30


def poison(trainer: JALTrainer, step: int) -> None:
    """From this step on one image holds a NaN; its epoch order decides when it comes."""
    trainer.add_callback(AtStep(step, lambda: trainer.train_dataset.pixels[POISONED_ROW].fill_(float("nan"))))


def heal(trainer: JALTrainer, step: int) -> None:
    trainer.add_callback(AtStep(step, lambda: trainer.train_dataset.pixels[POISONED_ROW].fill_(0.0)))


def test_non_finite_loss_stops_with_step_components_and_rows_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    expected = weights_after(tmp_path / "whole")
    folder = tmp_path / "stopped"
    trainer = trainer_in(folder)
    poison(trainer, 6)
    with pytest.raises(NonFiniteLossError) as raised:
        trainer.train()
    message = str(raised.value)
    step = trainer.state.global_step + 1
    assert f"not finite at step {step} " in message
    assert "nce nan" in message
    assert "amse nan" in message
    rows = message.split("Indices of the batch: ")[1].split(".")[0].split(", ")
    assert len(rows) == 8
    assert str(POISONED_ROW) in rows
    assert f"Rows whose logits are not finite: {POISONED_ROW}." in message
    last = last_complete_checkpoint(folder)
    assert last is not None
    assert f"{last.name} is the last good checkpoint" in message
    assert_resumes_to(folder, expected)


def test_non_finite_gradient_stops_although_the_loss_is_finite(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    weight = trainer.model.layers[-1].weight
    weight.register_hook(
        lambda gradient: gradient * float("inf") if trainer.state.global_step == 5 else gradient
    )
    with pytest.raises(NonFiniteLossError, match="gradient is not finite at step 6"):
        trainer.train()


def test_skip_leaves_the_step_out_and_counts_it(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path,
        1,
        1,
        torch.float32,
        WithBatchNorm(),
        on_nonfinite="skip",
        save_strategy="steps",
        save_steps=4,
    )
    poison(trainer, 0)
    heal(trainer, 6)
    before_and_after: list[dict[str, torch.Tensor]] = []
    for step in range(7):
        trainer.add_callback(
            AtStep(
                step,
                lambda: before_and_after.append(
                    {k: v.clone() for k, v in trainer.model.state_dict().items()}
                ),
            )
        )
    trainer.train()
    assert trainer.guard.skipped == 1
    unchanged = [
        all(torch.equal(left[name], right[name]) for name in left)
        for left, right in pairwise(before_and_after)
    ]
    assert unchanged.count(True) == 1
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())
    losses = [line for line in read_log(tmp_path) if "loss" in line]
    assert all(line["loss"] is not None for line in losses)
    assert losses[-1]["skipped_steps"] == 1


def test_skip_goes_on_counting_after_a_resume(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, on_nonfinite="skip", max_steps=8, logging_steps=100)
    poison(trainer, 0)
    trainer.train()
    skipped = trainer.guard.skipped
    assert skipped >= 1
    resumed = trainer_in(tmp_path, on_nonfinite="skip", logging_steps=100)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert resumed.guard.skipped == skipped


def test_no_checkpoint_ever_holds_a_weight_that_is_not_finite(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    parameter = trainer.model.layers[0].bias

    def overflow() -> None:
        with torch.no_grad():
            parameter.fill_(float("inf"))

    class AfterTheStep(AtStep):
        def on_optimizer_step(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if state.global_step == 7:
                overflow()

    trainer.add_callback(AfterTheStep(-1, overflow))
    with pytest.raises(NonFiniteLossError, match="weights are not finite any more after step 8"):
        trainer.train()
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["checkpoint-4"]
    stored = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in stored.values())
    assert parameters_of(trainer.model)
