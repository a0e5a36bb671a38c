"""Reading label and id columns of a dataset, refusing what cannot be a label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset

from jal_hf.ground.sentences import did_you_mean
from jal_hf.noise.base import Labels

CLEAN_COLUMN = "clean_label"


def check_columns(names: Iterable[str] | None, label_column: str, *others: str | None) -> None:
    """Raise ValueError unless the named columns are there and `clean_label` is not."""
    if names is None:
        return
    known = list(names)
    for column in (label_column, *others):
        if column is not None and column not in known:
            raise ValueError(
                f"There is no column {column!r}.{did_you_mean(column, known)} The dataset has {', '.join(known)}."
            )
    if CLEAN_COLUMN in known:
        raise ValueError(
            f"The dataset already has a column {CLEAN_COLUMN!r}, so its labels carry noise; train on it as "
            f"it is, or put the clean labels back into {label_column!r} and remove {CLEAN_COLUMN!r}."
        )


def class_names_of(features: Any, label_column: str) -> list[str] | None:
    """Names of the classes when the label column is a ClassLabel."""
    feature = (features or {}).get(label_column)
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def column_values(dataset: Dataset, column: str) -> pa.ChunkedArray:
    """One column as Arrow, in the order of the dataset; other columns are not read."""
    return dataset.select_columns([column]).with_format("arrow")[:][column]


def label_vector(dataset: Dataset, label_column: str = "label") -> Labels:
    """Labels as (N,) int64, in the order of the dataset.

    Raises:
        ValueError: The column is absent or some labels are missing; the sentence names rows.
        TypeError: The labels are not integers.
    """
    if label_column not in dataset.column_names:
        raise ValueError(
            f"There is no column {label_column!r}.{did_you_mean(label_column, dataset.column_names)} The dataset "
            f"has {', '.join(dataset.column_names)}."
        )
    values = column_values(dataset, label_column)
    if values.null_count:
        rows = np.flatnonzero(pc.is_null(values).to_numpy())[:5].tolist()
        raise ValueError(
            f"{values.null_count} rows of {label_column!r} have no label, first rows {rows}; label or "
            "remove them."
        )
    return integer_array(values, label_column)


def integer_array(values: pa.ChunkedArray | pa.Array, column: str) -> Labels:
    """Arrow integers as (N,) int64."""
    if not pa.types.is_integer(values.type):
        raise TypeError(
            f"The column {column!r} holds {values.type} values, labels must be integers; cast text with "
            "dataset.class_encode_column(...)."
        )
    return np.asarray(values.to_numpy(), dtype=np.int64)


def id_vector(dataset: Dataset, index_column: str | None) -> Any:
    """What keys each row's draw: (N,) integers or strings; None means the row number.

    Raises:
        ValueError: An id is missing or occurs twice.
    """
    if index_column is None:
        return None
    values = column_values(dataset, index_column)
    if values.null_count:
        raise ValueError(
            f"{values.null_count} rows of the id column {index_column!r} are empty; give each row an id."
        )
    if pc.count_distinct(values).as_py() != len(values):
        counts = values.value_counts().to_pylist()
        twice = next(entry["values"] for entry in counts if entry["counts"] > 1)
        raise ValueError(
            f"The id column {index_column!r} holds {twice!r} more than once; rows with one id would share "
            "one draw."
        )
    return values.to_numpy(zero_copy_only=False) if hasattr(values, "chunks") else values.to_numpy()
