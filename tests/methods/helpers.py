"""Small trainings with a method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, set_seed

from jal_hf import JALTrainingArguments, create_loss
from jal_hf.training import RobustTrainer
from jal_hf.training.methods import StepView, list_methods
from tests.training.helpers import Examples, timm_model

COMBINATIONS = ("ema+gate+twin", "ema+warmup+elr+mixup", "warmup+refurbish+gate+twin")
ALL = [*list_methods(), *COMBINATIONS]


class Rows(Examples):
    """Half of the labels are ignored in the second batch, and the rows' numbers are not their places."""

    def __init__(self, rows: int = 32) -> None:
        super().__init__(rows, ignored=(9, 12, 13))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return super().__getitem__(index)


def trainer(
    folder: Path,
    method: Any,
    *,
    batch: int = 8,
    accumulation: int = 1,
    model: nn.Module | None = None,
    weight: list[float] | None = None,
    **changes: Any,
) -> RobustTrainer:
    """Eight rows a step, four steps; `weight` is that of the classes."""
    set_seed(0)
    settings: dict[str, Any] = {
        "output_dir": str(folder), "optim": "sgd", "optim_args": "momentum=0.9", "learning_rate": 0.05,
        "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "max_steps": 4, "save_strategy": "no",
        "logging_strategy": "no", "disable_tqdm": True, "precision": "fp32", "use_cpu": True,
        "per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation,
    }  # fmt: skip
    found = RobustTrainer(
        model=timm_model() if model is None else model,
        args=JALTrainingArguments(**{**settings, **changes}),
        train_dataset=Rows(),
        loss=create_loss("jal-ce", alpha=1.0, beta=1.0, a=30.0, weight=weight),
        method=method,
    )
    found.remove_callback(PrinterCallback)
    return found


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def view(logits: Tensor, labels: Tensor, **changes: Any) -> StepView:
    """A micro-batch in the middle of a training."""
    content: dict[str, Any] = {
        "logits": logits, "labels": labels, "targets": labels, "index": torch.arange(len(logits)),
        "sample_weight": None, "model": nn.Identity(), "batch": {}, "step": 5, "progress": 0.5,
    }  # fmt: skip
    return StepView(**{**content, **changes})
