"""Noise given by a transition matrix: the wrong label depends on the clean class alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jal_hf.noise.base import LabelNoise, Labels, Matrix
from jal_hf.noise.keyed import UInt64, hashes, scalar_key, uniforms

_BLOCK = 1 << 18  # rows drawn at once: small enough to stay in the cache


class ClassConditionalNoise(LabelNoise):
    """Base of symmetric, asymmetric, pairflip and matrix noise.

    `exact`: of the n_c rows of class c, exactly `round(flip_rate_c * n_c)` (Python's `round`) change their
    label: those whose keyed hash is smallest. The wrong classes get their shares by largest remainder, ties
    drawn by the seed, so that under symmetric noise their counts differ by at most 1.
    `iid`: each row draws from its class's row of the matrix, on its own.
    """

    def __init__(
        self,
        rate: float,
        mode: str,
        matrix: Matrix,
        flip_rates: NDArray[np.float64] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(rate, mode, len(matrix), class_names)
        self._matrix = matrix
        # Given apart where 1 - diagonal would carry rounding: 1 - (1 - 0.3) is not 0.3.
        self._flip_rates = 1.0 - np.diag(matrix) if flip_rates is None else flip_rates

    def transition_matrix(self) -> Matrix:
        """The (K, K) matrix; row = clean class, column = observed class, rows sum to 1."""
        return self._matrix.copy()

    def expected_rate(self, class_counts: NDArray[np.int64]) -> float | None:
        """Share of wrong labels asked for: flip rates weighted by how often the classes occur."""
        total = int(class_counts.sum())
        return round(float(self._flip_rates @ class_counts) / total, 12) if total else float(self.rate)

    def _draw(self, labels: Labels, keys: UInt64, seed: int, features: Any) -> Labels:
        if self.mode == "iid":
            return _draw_rows(labels, keys, seed, self._matrix)
        noisy = labels.copy()
        for label, rows in enumerate(rows_by_class(labels, len(self._matrix))):
            flips = round(float(self._flip_rates[label]) * len(rows))
            if flips == 0:
                continue
            chosen = rows[smallest(hashes(seed, keys[rows]), flips)]
            counts = shares(self._matrix[label], label, flips, seed)
            noisy[chosen] = np.repeat(np.arange(len(counts)), counts)
        return noisy


def rows_by_class(labels: Labels, num_classes: int) -> list[NDArray[np.intp]]:
    """Positions of each class's rows, ascending."""
    small = labels.astype(np.uint16) if num_classes <= 1 << 16 else labels  # 16 bits: numpy sorts by radix
    order = np.argsort(small, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels, minlength=num_classes))[:-1])


def smallest(values: UInt64, count: int) -> NDArray[np.intp]:
    """Positions of the `count` smallest values, in ascending order of value."""
    everything = count >= len(values)
    positions = np.arange(len(values)) if everything else np.argpartition(values, count - 1)[:count]
    ranked: NDArray[np.intp] = positions[np.argsort(values[positions], kind="stable")]
    return ranked


def shares(row: NDArray[np.float64], label: int, flips: int, seed: int) -> NDArray[np.intp]:
    """Split `flips` among the classes other than `label` as `row` asks, by largest remainder: (K,) counts."""
    weights = row.copy()
    weights[label] = 0.0
    quotas = weights * (flips / weights.sum())
    counts: NDArray[np.intp] = np.floor(quotas + 1e-9).astype(np.intp)
    remainder = quotas - counts
    open_classes = np.flatnonzero(weights > 0)
    tie = hashes(scalar_key(seed, label), open_classes, stream=1)
    order = open_classes[np.lexsort((tie, -np.round(remainder[open_classes], 9)))]
    counts[order[: flips - int(counts.sum())]] += 1
    return counts


def _draw_rows(labels: Labels, keys: UInt64, seed: int, matrix: Matrix) -> Labels:
    """Draw each row by inversion of its class's cumulative distribution."""
    num_classes = len(matrix)
    cumulative = np.cumsum(matrix, axis=1)
    reached = cumulative >= cumulative[:, -1:] * (1.0 - 1e-12)
    cumulative[reached] = 1.0  # the last class that can be drawn closes the interval despite rounding
    # Row c of the table covers (c, c + 1], so that one search serves rows of every class.
    table = (cumulative + np.arange(num_classes)[:, None]).ravel()
    noisy = np.empty_like(labels)
    for start in range(0, len(labels), _BLOCK):
        block = labels[start : start + _BLOCK]
        draw = uniforms(seed, keys[start : start + _BLOCK]) + block
        draw = np.minimum(draw, np.nextafter(block + 1.0, 0.0))  # adding the class may have rounded up
        noisy[start : start + _BLOCK] = np.searchsorted(table, draw, side="right") - block * num_classes
    return noisy
