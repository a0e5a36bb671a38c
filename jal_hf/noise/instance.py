"""Noise that depends on the picture: what looks like another class is mislabelled as it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jal_hf.noise.base import LabelNoise, Labels, check_rate
from jal_hf.noise.class_conditional import rows_by_class, smallest
from jal_hf.noise.keyed import UInt64, hashes, normals, scalar_key, uniforms
from jal_hf.noise.spec import join_spec, rate_text

Features = Callable[[NDArray[np.intp]], NDArray[np.float64]]

_ROWS = 512  # feature rows held at once
_CELLS = 1 << 17  # weights drawn at once: small enough to stay in the cache
_WEIGHTS, _GUMBEL, _RATES = 11, 1000, 12  # streams, apart from the choice of rows (0)
_STD = 0.1


class InstanceNoise(LabelNoise):
    """Base: chosen rows take a wrong class y' with probability softmax(x^T W_y)_y', y itself left out.

    W_y is a (D, K) matrix of standard normal numbers for each clean class y, keyed by the seed; x is the
    row's flattened normalised image. Sums are in float64, so that the block size changes no label.
    """

    needs_features = True
    family = "instance-dependent"

    def __init__(
        self, rate: float, num_classes: int, mode: str, class_names: Sequence[str] | None = None
    ) -> None:
        check_rate(rate, self.kind)
        super().__init__(rate, mode, num_classes, class_names)

    @abstractmethod
    def _chosen(self, keys: UInt64, seed: int) -> NDArray[np.intp]:
        """Positions of the rows that get a wrong label."""

    def _draw(self, labels: Labels, keys: UInt64, seed: int, features: Any) -> Labels:
        noisy = labels.copy()
        chosen = np.sort(self._chosen(keys, seed))
        if len(chosen) == 0:
            return noisy
        source = feature_source(features, len(labels), self.kind)
        num_classes = self.num_classes or 0
        for label, members in enumerate(rows_by_class(labels[chosen], num_classes)):
            weights: NDArray[np.float64] | None = None
            for start in range(0, len(members), _ROWS):
                rows = chosen[members[start : start + _ROWS]]
                block = source(rows)
                if weights is None:
                    weights = class_weights(seed, label, block.shape[1], num_classes)
                scores = block @ weights
                scores[:, label] = -np.inf
                noisy[rows] = np.argmax(scores + _gumbel(seed, keys[rows], num_classes), axis=1)
        return noisy


class InstanceDependentNoise(InstanceNoise):
    """Exactly `round(rate * N)` rows of the whole set, chosen at random, are wrong.

    In mode `iid` each row is chosen with that chance.

    Reference: the generator behind the JAL paper's Table 4.
    """

    kind = "idn"

    @property
    def spec(self) -> str:
        return join_spec(
            self.kind, rate_text(self.rate), {"mode": self.mode} if self.mode != "exact" else None
        )

    def _chosen(self, keys: UInt64, seed: int) -> NDArray[np.intp]:
        if self.mode == "iid":
            return np.flatnonzero(uniforms(seed, keys) < self.rate)
        count = round(self.rate * len(keys))
        return smallest(hashes(seed, keys), count) if count else np.zeros(0, dtype=np.intp)


class PartDependentNoise(InstanceNoise):
    """Each row has its own rate, from a normal distribution around `rate` (deviation 0.1) cut to [0, 1].

    Rows are drawn one by one, so there is no exact mode; the realised rate is near `rate` where the cut is
    far, and above it near 0.

    Reference: Xia et al., "Part-dependent Label Noise", NeurIPS 2020, Algorithm 2.
    """

    kind = "pdn"

    def __init__(self, rate: float, num_classes: int, class_names: Sequence[str] | None = None) -> None:
        super().__init__(rate, num_classes, "iid", class_names)

    @property
    def spec(self) -> str:
        return join_spec(self.kind, rate_text(self.rate))

    def expected_rate(self, class_counts: NDArray[np.int64]) -> float | None:
        """Mean of the cut normal distribution."""
        if self.rate == 0.0:
            return 0.0
        normal = NormalDist(self.rate, _STD)
        density = normal.pdf(0.0) - normal.pdf(1.0)
        return round(self.rate + _STD**2 * density / (normal.cdf(1.0) - normal.cdf(0.0)), 12)

    def _chosen(self, keys: UInt64, seed: int) -> NDArray[np.intp]:
        if self.rate == 0.0:  # asked for none: the cut normal distribution would still give 8 %
            return np.zeros(0, dtype=np.intp)
        return np.flatnonzero(uniforms(seed, keys) < self.row_rates(keys, seed))

    def row_rates(self, keys: UInt64, seed: int) -> NDArray[np.float64]:
        """Rate of each row: (N,) in [0, 1], by rejection."""
        rates = np.empty(len(keys))
        waiting = np.arange(len(keys))
        attempt = 0
        while len(waiting):
            drawn = self.rate + _STD * normals(scalar_key(seed, _RATES), keys[waiting], stream=attempt)
            inside = (drawn >= 0.0) & (drawn <= 1.0)
            rates[waiting[inside]] = drawn[inside]
            waiting = waiting[~inside]
            attempt += 1
        return rates


def class_weights(seed: int, label: int, dimensions: int, num_classes: int) -> NDArray[np.float64]:
    """W_y of one clean class: (D, K) standard normal."""
    weights = np.empty(dimensions * num_classes)
    key = scalar_key(seed, _WEIGHTS, label)
    for start in range(0, len(weights), _CELLS):
        part = weights[start : start + _CELLS]
        part[:] = normals(key, np.arange(start, start + len(part), dtype=np.uint64))
    return weights.reshape(dimensions, num_classes)


def feature_source(features: Any, rows: int, kind: str) -> Features:
    """Turn an (N, D) array or a function of row positions into a checked function of row positions.

    Raises:
        ValueError: There are none, they are not one row for each label, or they are not finite.
    """
    if features is None:
        raise ValueError(
            f"The noise {kind!r} depends on the images; give features (one row of numbers for each label), "
            "or use add_label_noise on a dataset with an image column."
        )
    if callable(features):
        fetch = features
    else:
        table = np.asarray(features)
        if table.ndim < 2 or len(table) != rows:
            raise ValueError(
                f"The features have shape {table.shape}; give ({rows}, D), one row for each label."
            )

        def fetch(positions: NDArray[np.intp]) -> Any:
            return table[positions]

    def checked(positions: NDArray[np.intp]) -> NDArray[np.float64]:
        block = np.asarray(fetch(positions), dtype=np.float64).reshape(len(positions), -1)
        if not np.isfinite(block).all():
            bad = positions[np.flatnonzero(~np.isfinite(block).all(axis=1))[0]]
            raise ValueError(f"The features of row {bad} hold NaN or infinity; give finite numbers.")
        return block

    return checked


def _gumbel(seed: int, keys: UInt64, num_classes: int) -> NDArray[np.float64]:
    """Noise that turns argmax into a draw from the softmax: (M, K)."""
    draws = np.stack([uniforms(seed, keys, stream=_GUMBEL + k) for k in range(num_classes)], axis=1)
    gumbel: NDArray[np.float64] = -np.log(-np.log(draws + 2.0**-54))
    return gumbel
