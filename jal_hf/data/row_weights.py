"""Weights of rows, checked before anything long starts."""

from __future__ import annotations

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jal_hf.data.column_values import is_text, rows_text, whole_column


def read_weights(split: datasets.Dataset, split_name: str) -> npt.NDArray[np.float32] | None:
    """Weights of the rows, (N,), from the column `sample_weight`; None without one, or where it holds nothing.

    Raises:
        ValueError: a weight is no finite number of at least 0; the rows are named.
    """
    if "sample_weight" not in split.column_names:
        return None
    values = whole_column(split, "sample_weight")
    if values.null_count == len(values):
        return None
    if is_text(values.type):
        raise ValueError(
            f"The column 'sample_weight' of split {split_name!r} holds text; weights must be numbers. Convert it, or "
            "remove it."
        )
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        weights = np.asarray(numbers, dtype=np.float32)
    rows = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(rows) > 0:
        raise ValueError(
            f"The column 'sample_weight' of split {split_name!r} has {len(rows)} weight(s) that are empty, negative or "
            f"not finite, at {rows_text(rows)}; a weight is a finite number of at least 0."
        )
    return weights
