"""Noise from a transition matrix in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jal_hf.noise.array_files import read_matrix
from jal_hf.noise.base import Matrix
from jal_hf.noise.class_conditional import ClassConditionalNoise
from jal_hf.noise.spec import join_spec

_TOLERANCE = 1e-6


class MatrixNoise(ClassConditionalNoise):
    """Entry (i, j) of the matrix is the probability that clean class i is labelled j.

    `rate` is the share of wrong labels when all classes are equally frequent.

    Args:
        path: An npy file, a csv file without header, or a json list of rows.
        num_classes: K the matrix must have, or None to take its own.
    """

    kind = "matrix"
    has_rate = False

    def __init__(
        self,
        path: str,
        num_classes: int | None = None,
        mode: str = "exact",
        class_names: Sequence[str] | None = None,
    ) -> None:
        matrix = check_matrix(read_matrix(Path(path)), path, num_classes)
        super().__init__(float(np.mean(1.0 - np.diag(matrix))), mode, matrix, None, class_names)
        self.path = path

    @property
    def spec(self) -> str:
        return join_spec(self.kind, self.path, {"mode": self.mode} if self.mode != "exact" else None)

    @property
    def identity(self) -> str:
        return f"{self.spec} {hashlib.sha256(self._matrix.tobytes()).hexdigest()}"


def check_matrix(matrix: Matrix, name: str, num_classes: int | None) -> Matrix:
    """Return the matrix with rows that sum to 1.

    Raises:
        ValueError: It is not square, not of K classes, or a row is no distribution over the classes.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(
            f"The matrix of {name!r} has shape {matrix.shape}; give one row and column for each class."
        )
    if num_classes is not None and len(matrix) != num_classes:
        raise ValueError(
            f"The matrix of {name!r} is for {len(matrix)} classes, the dataset has {num_classes}."
        )
    wrong = np.argwhere(~((matrix >= 0.0) & (matrix <= 1.0)))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise ValueError(
            f"The matrix of {name!r} holds {matrix[row, column]} in row {row}, column {column}; entries are "
            "probabilities, from 0 to 1."
        )
    sums = matrix.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1.0) > _TOLERANCE)
    if len(off):
        raise ValueError(
            f"Row {off[0]} of the matrix of {name!r} sums to {sums[off[0]]:.6g}; each row (clean class) "
            "sums to 1."
        )
    normalised: Matrix = matrix / sums[:, None]
    return normalised
