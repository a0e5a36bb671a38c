"""Training: a small `transformers.Trainer` subclass, its arguments, metrics and the record of a run."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "JALTrainer": "trainer",
    "JALTrainingArguments": "arguments",
    "as_compute_loss_func": "criterion",
    "ImageClassificationMetric": "metrics",
    "load_recipe": "recipes",
    "list_recipes": "recipes",
    "detect_hardware": "hardware",
    "run_training": "run",
    "RunResult": "run",
    "build_record": "record",
    "read_record": "record",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"jal_hf.training.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'jal_hf.training' has no attribute {name!r}")
