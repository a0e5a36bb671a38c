"""Values of whole columns as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets.table import ConcatenationTable

_SHOWN = 5


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


def without_columns(split: datasets.Dataset, names: Sequence[str]) -> datasets.Dataset:
    """The split without these columns.

    `Dataset.remove_columns` keeps tables that have no column left beside those that have, and then the split cannot be
    concatenated with another.
    """
    rest = split.remove_columns(list(names))
    table = rest.data
    if not rest.column_names or not isinstance(table, ConcatenationTable):
        return rest
    if all(part.num_columns for parts in table.blocks for part in parts):
        return rest
    if rest._indices is not None:
        return rest.flatten_indices()
    blocks = [[part for part in parts if part.num_columns] for parts in table.blocks]
    return datasets.Dataset(ConcatenationTable.from_blocks(blocks), info=rest.info, split=rest.split)


def with_column(split: datasets.Dataset, name: str, values: Any, feature: Any = None) -> datasets.Dataset:
    """The split with a column of these values at its end, in place of one of the same name.

    Args:
        split: the rows.
        name: of the column.
        values: one a row.
        feature: their type; None takes that of the values.
    """
    if name not in split.column_names:
        return split.add_column(name, values, feature=feature)
    rest = without_columns(split, [name])
    if rest.column_names:
        return rest.add_column(name, values, feature=feature)
    features = None if feature is None else datasets.Features({name: feature})
    return datasets.Dataset.from_dict({name: values}, features=features, split=split.split)


def whole_column(split: datasets.Dataset, column: str) -> pa.Array:
    """A column in one piece, without a dictionary."""
    values = split.with_format("arrow", columns=[column])[:].column(column).combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of a kind are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def rows_text(rows: npt.NDArray[Any] | Sequence[int]) -> str:
    """'rows 3, 7 and 12 more' for a message."""
    shown = ", ".join(str(int(row)) for row in rows[:_SHOWN])
    more = len(rows) - _SHOWN
    return f"row{'s' if len(rows) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")
