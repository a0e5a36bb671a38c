"""Out-of-sample probabilities: every example is judged by a model that never saw its label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from jal_hf.data.progress import progress_line

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Given the rows to train on and the rows to judge, the (M, K) probabilities of the latter.
FoldTrainer = Callable[[IntArray, IntArray], FloatArray]


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
    with progress_line(folds, "training folds", "fold") as line:
        for training_rows, held_out in splitter.split(np.zeros(labels.size), labels):
            judged = train(training_rows, held_out)
            if probabilities is None:
                probabilities = np.zeros((labels.size, judged.shape[1]))
            probabilities[held_out] = judged
            line.update()
    if probabilities is None:
        raise ValueError("No fold was trained: there are no labels.")
    return probabilities
