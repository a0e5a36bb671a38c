"""Out-of-sample probabilities: every example is judged by a model that never saw its label."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold
from torch import nn
from transformers import PrinterCallback

from jal_hf.analysis.predictions import predict_logits, softmax
from jal_hf.losses import create_loss
from jal_hf.training.building import build_trainer, image_dataset
from jal_hf.training.settings import RunSettings

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Given the rows to train on and the rows to judge, the (M, K) probabilities of the latter.
FoldTrainer = Callable[[IntArray, IntArray], FloatArray]


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


def check_folds(labels: IntArray, folds: int) -> None:
    """ValueError when there are fewer than two folds, or a class has fewer examples than folds."""
    counts = np.bincount(labels)
    rarest = int(counts[counts > 0].min())
    if not 2 <= folds <= rarest:
        raise ValueError(
            f"{folds} folds were asked for; there must be at least 2 and at most {rarest}, the number of "
            "examples of the rarest class."
        )


def cross_validated_probabilities(labels: IntArray, folds: int, seed: int, train: FoldTrainer) -> FloatArray:
    """Probabilities (N, K) of each example by the model of the fold that left it out.

    Folds are stratified by the given `labels` (N,) and drawn from `seed`; see `check_folds`.
    """
    check_folds(labels, folds)
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    probabilities: FloatArray | None = None
    for training_rows, held_out in splitter.split(np.zeros(labels.size), labels):
        judged = train(training_rows, held_out)
        if probabilities is None:
            probabilities = np.zeros((labels.size, judged.shape[1]))
        probabilities[held_out] = judged
    if probabilities is None:
        raise ValueError("No fold was trained: there are no labels.")
    return probabilities


def recipe_trainer(settings: RunSettings, data: Any) -> FoldTrainer:
    """Trains each fold as `settings` say, with the run's own recipe, loss and number of epochs.

    The output folder of `settings` is scratch space, removed after each fold. Their evaluation and saving
    must be off: no fold may choose anything by a split, and no checkpoint outlives it.
    """

    def train(training_rows: IntArray, held_out: IntArray) -> FloatArray:
        arguments = settings.training
        parameters = arguments.loss_args if isinstance(arguments.loss_args, dict) else {}
        fold = PartialData(data, data["train"].select(training_rows))
        trainer = build_trainer(settings, fold, create_loss(arguments.loss, **parameters))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        rest = PartialData(data, data["train"].select(held_out))
        model: nn.Module = trainer.accelerator.unwrap_model(trainer.model)
        logits = predict_logits(model, image_dataset(settings, rest, "train", model, train=False))
        if arguments.output_dir is not None:
            shutil.rmtree(arguments.output_dir, ignore_errors=True)
        return softmax(logits)

    return train
