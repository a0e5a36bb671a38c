"""Values of whole columns as arrays."""

from __future__ import annotations

import datasets
import numpy as np
import numpy.typing as npt


def integer_column(split: datasets.Dataset, name: str) -> npt.NDArray[np.int64]:
    """A whole integer column as (N,) int64. Raises ValueError where cells are empty."""
    column = split.select_columns([name]).with_format("arrow")[:].column(name)
    if column.null_count:
        raise ValueError(f"The column {name!r} has {column.null_count} empty cell(s); it must hold integers.")
    return np.ascontiguousarray(column.to_numpy(), dtype=np.int64)


def row_numbers(split: datasets.Dataset) -> npt.NDArray[np.int64]:
    """Original row numbers, (N,) int64: the column `index` where there is one, else 0..N-1."""
    if "index" in split.column_names:
        return integer_column(split, "index")
    return np.arange(len(split), dtype=np.int64)
