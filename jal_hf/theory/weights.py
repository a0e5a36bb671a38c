"""Reads what the theorems are asked about: one vector of label weights, or a noise with a row per class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jal_hf.losses.conditions import transition_rows

Weights = npt.NDArray[np.float64]


def label_weights(weights: Any) -> Weights:
    """Weights of K labels as float64 (K,).

    Raises:
        ValueError: not a vector of at least two finite numbers of at least 0, or all of them 0.
    """
    vector = torch.as_tensor(weights, dtype=torch.float64).numpy().copy()
    if vector.ndim != 1 or vector.shape[0] < 2:
        raise ValueError(
            f"weights must be a vector of at least 2 numbers, but shape {vector.shape} was given."
        )
    if not np.isfinite(vector).all() or (vector < 0).any() or not vector.any():
        raise ValueError("weights must be finite, at least 0, and not all 0.")
    result: Weights = vector
    return result


def weighted_rows(weights_or_noise: Any, num_classes: int | None = None) -> list[tuple[list[float], int]]:
    """(weights, index that should dominate) for each case to be checked.

    Args:
        weights_or_noise: K weights (their largest should dominate); a (K, K) transition matrix, an object with
            `transition_matrix()`, or the rate of symmetric noise (row i should be dominated by class i).
        num_classes: K, needed with a rate alone.
    """
    given = weights_or_noise
    is_vector = not hasattr(given, "transition_matrix") and not isinstance(given, (int, float, str))
    if is_vector and torch.as_tensor(given).dim() == 1:
        vector = label_weights(given).tolist()
        return [(vector, int(np.argmax(vector)))]
    return [(row, index) for index, row in enumerate(transition_rows(given, num_classes))]
