"""A run's recipe trained on a part of its rows: the folds of an audit, the trials of a search."""

from __future__ import annotations

import shutil
from typing import Any

from torch import nn
from transformers import PrinterCallback

from jal_hf.analysis.folds import FloatArray, FoldTrainer, IntArray
from jal_hf.analysis.predictions import predict_logits, softmax
from jal_hf.runs.config import RunConfig
from jal_hf.runs.fitted_training import fitted_training
from jal_hf.runs.parts import build_trainer, image_dataset

QUIET = {"eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
"""No fold may choose anything by a split, and no checkpoint outlives it."""


class PartialData(dict[str, Any]):
    """Chosen rows of a dataset in the shape that `build_trainer` takes; the rest stays unseen."""

    def __init__(self, data: Any, train: Any, evaluated: Any = None) -> None:
        super().__init__(train=train)
        if evaluated is not None:
            self["test"] = evaluated
        self.image_column = data.image_column
        self.label_column = data.label_column
        self.num_classes = data.num_classes
        self.class_names = data.class_names
        self.noise_report = data.noise_report


def recipe_trainer(config: RunConfig, data: Any) -> FoldTrainer:
    """Trains each fold as `config` says, with the run's own recipe, loss and number of epochs.

    The output folder of `config` is scratch space, removed after each fold.
    """
    quiet = config.replace(**QUIET)
    quiet = fitted_training(quiet, quiet.arguments(), data)

    def train(training_rows: IntArray, held_out: IntArray) -> FloatArray:
        fold = PartialData(data, data["train"].select(training_rows))
        trainer = build_trainer(quiet, fold)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        rest = PartialData(data, data["train"].select(held_out))
        network: nn.Module = trainer.accelerator.unwrap_model(trainer.model)
        logits = predict_logits(network, image_dataset(quiet, rest, "train", network))
        shutil.rmtree(quiet.output_dir, ignore_errors=True)
        return softmax(logits)

    return train
