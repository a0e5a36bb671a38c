"""The protocol every label noise follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from jal_hf.noise.keyed import UInt64, check_seed, row_keys

Labels = NDArray[np.int64]
Matrix = NDArray[np.float64]

MODES = ("exact", "iid")
IGNORE_INDEX = -100  # a row without a label: it gets none, and counts nowhere


class LabelNoise(ABC):
    """A way of getting labels wrong.

    Attributes:
        kind: Name in the spec.
        rate: The rate asked for, a fraction in [0, 1).
        mode: `exact` (counts are met to the row), `iid` (each row on its own) or `fixed` (labels of a file).
        num_classes: K, or None where the kind does not need it.
        class_names: Names of the classes, or None.
        rows: How many rows the split must have, or None when any number will do.
        image_hashes: `image_sha256` of each row's image, for labels that were made for certain images; else None.
        spec: A string from which `create_noise` builds the same noise again.
        has_rate: Whether the spec names a rate; else `rate` was computed from a file.
        needs_features: Whether the draw looks at the images.
        family: What the papers' tables call it: clean, symmetric, asymmetric, instance-dependent or human.
    """

    kind: ClassVar[str]
    has_rate: ClassVar[bool] = True
    needs_features: ClassVar[bool] = False
    family: ClassVar[str] = "symmetric"

    def __init__(
        self,
        rate: float,
        mode: str,
        num_classes: int | None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.rate = rate
        self.mode = mode
        self.num_classes = num_classes
        self.rows: int | None = None
        self.image_hashes: Sequence[str] | None = None
        self.class_names = None if class_names is None else tuple(class_names)

    @property
    @abstractmethod
    def spec(self) -> str:
        """The canonical spec."""

    @property
    def identity(self) -> str:
        """What caches go by: the spec, and the content of the files it names."""
        return self.spec

    @property
    def row_wise(self) -> bool:
        """True when the label of a row depends on that row alone, so that a stream can be corrupted."""
        return self.mode != "exact"

    def corrupt(
        self, labels: Any, seed: SupportsIndex = 0, index: Any = None, features: Any = None
    ) -> Labels:
        """Return the noisy labels; the clean ones are left as they are.

        Args:
            labels: Clean labels, N integers in [0, K); -100 marks a row without label and stays.
            seed: Names the draw; the same seed gives the same labels.
            index: What keys each row's draw, N integers or strings; default 0 .. N-1.
            features: For instance-dependent kinds, an (N, D) array of the rows' normalised features, or a
                function that takes an array of M row positions and returns their (M, D) features.

        Returns:
            (N,) int64.

        Raises:
            ValueError: Labels lie outside [0, K), or lengths differ.
            TypeError: Labels or index are not of an integer kind.
        """
        clean = check_labels(labels, self.num_classes)
        keys, seed = row_keys(index, len(clean)), check_seed(seed)
        known = np.flatnonzero(clean != IGNORE_INDEX)
        if len(known) == len(clean):
            return self._draw(clean, keys, seed, features)
        noisy = clean.copy()
        noisy[known] = self._draw(clean[known], keys[known], seed, _rows_of(features, known, len(clean)))
        return noisy

    @abstractmethod
    def _draw(self, labels: Labels, keys: UInt64, seed: int, features: Any) -> Labels:
        """Return a fresh (N,) int64 array; arguments are already checked."""

    def transition_matrix(self) -> Matrix | None:
        """The asked (K, K) matrix, row = clean class, rows sum to 1; None when it depends on the instance."""
        return None

    def expected_rate(self, class_counts: NDArray[np.int64]) -> float | None:
        """Share of wrong labels asked for over rows with these counts of classes, (K,); None when unknown."""
        return float(self.rate)

    def check_rows(self, rows: int) -> None:
        """Raise ValueError when the labels come from a file made for a split of another length."""
        if self.rows is not None and self.rows != rows:
            raise ValueError(
                f"The file of {self.spec!r} has {self.rows} labels, the dataset has {rows} rows; give a "
                "file made for this split."
            )

    def check_images(self, hashes: Sequence[str], index: Any = None) -> None:
        """Raise ValueError unless these are the images that the labels were made for.

        Args:
            hashes: `image_sha256` of M images.
            index: What keys their draws, M integers; None means 0 .. M-1.
        """
        del hashes, index  # labels that are drawn fit any images

    def __repr__(self) -> str:
        return f"create_noise({self.spec!r}, num_classes={self.num_classes})"


def _rows_of(features: Any, rows: NDArray[np.intp], total: int) -> Any:
    """The features of some rows, as an array or a function of positions among them."""
    if features is None:
        return None
    if callable(features):
        return lambda positions: features(rows[positions])
    table = np.asarray(features)
    if table.ndim < 2 or len(table) != total:
        raise ValueError(f"The features have shape {table.shape}; give ({total}, D), one row for each label.")
    return table[rows]


def check_labels(labels: Any, num_classes: int | None) -> Labels:
    """Return labels as a fresh (N,) int64 array, or say which rows are wrong."""
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"Labels have shape {values.shape}; give one label for each row, shape (N,).")
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    if values.dtype.kind not in "iu":
        raise TypeError(f"Labels are of type {values.dtype}; give integers (class ids), one for each row.")
    wrong = (values < 0) if num_classes is None else (values < 0) | (values >= num_classes)
    wrong &= values != IGNORE_INDEX
    if wrong.any():
        rows = np.flatnonzero(wrong)
        bound = "at least 0" if num_classes is None else f"in [0, {num_classes})"
        shown = ", ".join(f"row {row} holds {values[row]}" for row in rows[:5].tolist())
        raise ValueError(
            f"{len(rows)} labels are out of range: {shown}; labels must be {bound} (or {IGNORE_INDEX}, for "
            "none)."
        )
    return values.astype(np.int64)


def check_rate(rate: float, kind: str) -> float:
    """Return the rate when it lies in [0, 1)."""
    if not 0.0 <= rate < 1.0:
        raise ValueError(
            f"The noise rate of {kind} is {rate}; it must be at least 0 and below 1 (0.4 means 40 % of the "
            "labels)."
        )
    return rate
