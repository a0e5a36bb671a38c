"""Noise rate and transition matrix without clean labels: by predictions, or by confident learning."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jal_hf.ground.files import JsonObject


@dataclass(frozen=True)
class NoiseEstimate:
    """An estimated noise rate in [0, 1] and transition matrix (K, K): row true class, column given class.

    `joint` holds the counts behind the matrix: rows the class taken for true, columns the given one.
    """

    method: str
    rate: float
    transition_matrix: npt.NDArray[np.float64]
    joint: npt.NDArray[np.float64]

    def to_dict(self) -> JsonObject:
        """The estimate, ready for JSON, without the counts."""
        return {
            "method": self.method,
            "rate": self.rate,
            "transition_matrix": self.transition_matrix.round(6).tolist(),
        }


def estimate_from_predictions(
    predicted: npt.ArrayLike, given: npt.ArrayLike, num_classes: int
) -> NoiseEstimate:
    """Take each prediction for the true class: right as far as the model is, and did not memorise.

    `predicted` and `given` have shape (N,).
    """
    true, observed = np.asarray(predicted, dtype=np.int64), np.asarray(given, dtype=np.int64)
    joint = np.zeros((num_classes, num_classes), dtype=np.float64)
    np.add.at(joint, (true, observed), 1.0)
    return NoiseEstimate("predictions", float((true != observed).mean()), _rows_to_one(joint), joint)


def estimate_by_confident_learning(
    probabilities: npt.NDArray[np.float64], given: npt.NDArray[np.int64]
) -> NoiseEstimate:
    """Confident joint of Northcutt et al. 2021 on (N, K) out-of-sample probabilities, by cleanlab.

    ImportError with the install line when cleanlab is absent.
    """
    cleanlab_count = _cleanlab("count")
    given_true = np.asarray(
        cleanlab_count.compute_confident_joint(given, probabilities, calibrate=True), dtype=np.float64
    )
    joint = given_true.T
    rate = 1.0 - float(np.trace(joint) / joint.sum())
    return NoiseEstimate("confident learning", rate, _rows_to_one(joint), joint)


def confident_learning_scores(
    probabilities: npt.NDArray[np.float64], given: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """cleanlab's label quality of each example, (N,) in [0, 1]: low where the label looks wrong.

    p of the given label, adjusted by the mean confidence in each class as confident learning does; without
    that it would be our own ranking again.
    """
    # The adjustment averages over the examples of each class, so it needs every class to be there.
    adjust = bool(np.unique(given).size == probabilities.shape[1])
    scores = _cleanlab("rank").get_label_quality_scores(
        given, probabilities, method="self_confidence", adjust_pred_probs=adjust
    )
    return np.asarray(scores, dtype=np.float64)


def _rows_to_one(joint: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    totals = joint.sum(axis=1, keepdims=True)
    # A class nothing was taken for says nothing: its row stays the identity's.
    shares = np.divide(joint, totals, out=np.eye(joint.shape[0]), where=totals > 0)
    return np.asarray(shares, dtype=np.float64)


def has_cleanlab() -> bool:
    """Whether cleanlab can be imported."""
    return importlib.util.find_spec("cleanlab") is not None


def _cleanlab(module: str) -> Any:
    if not has_cleanlab():
        raise ImportError(
            "Confident learning needs cleanlab, which is not installed: pip install 'jal_hf[audit]'."
        )
    return importlib.import_module(f"cleanlab.{module}")
