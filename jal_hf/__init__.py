"""Train classifiers that survive wrong labels.

Public names are loaded on first use, so that `import jal_hf` costs nothing and a user of the losses alone
never imports transformers.
"""

from __future__ import annotations

from jal_hf._lazy import lazy_exports
from jal_hf.models.registration import register_networks

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "create_loss": ".losses",
        "list_losses": ".losses",
        "loss_info": ".losses",
        "loss_preset": ".losses",
        "JointLoss": ".losses",
        "Normalized": ".losses",
        "RobustLoss": ".losses",
        "create_noise": ".noise",
        "add_label_noise": ".noise",
        "noise_report": ".noise",
        "load_noisy_dataset": ".data",
        "create_model": ".models",
        "JALTrainer": ".training",
        "JALTrainingArguments": ".training",
        "as_compute_loss_func": ".training",
        "ImageClassificationMetric": ".training",
        "render_model_card": ".hub",
        "push_run": ".hub",
        "find_label_issues": ".analysis",
    },
    also=["__version__"],
)


# Waits for timm without loading it: a checkpoint of a network of the papers then loads after `import jal_hf`.
register_networks()
