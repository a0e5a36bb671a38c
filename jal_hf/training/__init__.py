"""Training: a small `transformers.Trainer` subclass, its arguments, metrics and the record of a run."""

from __future__ import annotations

from jal_hf._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "JALTrainer": ".trainer",
        "JALTrainingArguments": ".arguments",
        "as_compute_loss_func": ".criterion",
        "ImageClassificationMetric": ".metrics",
        "load_recipe": ".recipes",
        "list_recipes": ".recipes",
        "detect_hardware": ".hardware",
        "run_training": ".run",
        "RunResult": ".run",
        "build_record": ".record",
        "read_record": ".record",
    },
)
