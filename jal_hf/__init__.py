"""Train classifiers that survive wrong labels.

Public names are loaded on first use, so that `import jal_hf` costs nothing and a user of the losses alone
never imports transformers.
"""

from __future__ import annotations

import importlib
from typing import Any

from jal_hf.models.registration import register_networks

__version__ = "0.1.0"

_EXPORTS = {
    "create_loss": "jal_hf.losses",
    "list_losses": "jal_hf.losses",
    "loss_info": "jal_hf.losses",
    "loss_preset": "jal_hf.losses",
    "JointLoss": "jal_hf.losses",
    "Normalized": "jal_hf.losses",
    "RobustLoss": "jal_hf.losses",
    "create_noise": "jal_hf.noise",
    "add_label_noise": "jal_hf.noise",
    "noise_report": "jal_hf.noise",
    "load_noisy_dataset": "jal_hf.data",
    "create_model": "jal_hf.models",
    "JALTrainer": "jal_hf.training",
    "JALTrainingArguments": "jal_hf.training",
    "as_compute_loss_func": "jal_hf.training",
    "ImageClassificationMetric": "jal_hf.training",
    "render_model_card": "jal_hf.hub",
    "push_run": "jal_hf.hub",
    "find_label_issues": "jal_hf.analysis",
}

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jal_hf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Waits for timm without loading it: a checkpoint of a network of the papers then loads after `import jal_hf`.
register_networks()
