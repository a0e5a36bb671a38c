"""Callbacks that break a run at a chosen step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from jal_hf import JALTrainer
from jal_hf.training.checkpoints import is_complete, last_complete_checkpoint
from tests.distributed.scenarios import make_trainer, parameters_of


class AtStep(TrainerCallback):
    """Calls a function before the first step after `step` steps."""

    def __init__(self, step: int, act: Callable[[], Any]) -> None:
        self.step, self.act = step, act

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.act()


def trainer_in(folder: Path, **changes: Any) -> JALTrainer:
    """A trainer of 20 steps on one process with a checkpoint every 4 steps."""
    settings = {"save_strategy": "steps", "save_steps": 4, **changes}
    return make_trainer(folder, 1, 1, torch.float32, **settings)


def weights_after(folder: Path, checkpoint: str | None = None, **changes: Any) -> dict[str, Tensor]:
    """Weights at the end of a run, resumed or not."""
    trainer = trainer_in(folder, **changes)
    trainer.train(resume_from_checkpoint=checkpoint)
    return parameters_of(trainer.model)


def assert_resumes_to(folder: Path, expected: dict[str, Tensor], **changes: Any) -> None:
    """The folder's last checkpoint is whole and leads to the expected weights, bit by bit."""
    last = last_complete_checkpoint(folder)
    assert last is not None
    assert is_complete(last)
    found = weights_after(folder, str(last), **changes)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
