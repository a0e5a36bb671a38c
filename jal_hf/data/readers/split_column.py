"""A table whose rows say of themselves to which split they belong."""

from __future__ import annotations

import dataclasses
from collections import Counter

import datasets
import numpy as np
import pyarrow as pa

from jal_hf.data.column_values import is_text, whole_column
from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.readers.source import ReadOptions, Source

_NAMES = ("split", "subset", "fold")


def split_by_column(source: Source, options: ReadOptions) -> Source:
    """The source itself, or with its only split cut up by a column that names splits and nothing else, and a warning.

    Rows for testing would be trained on otherwise. A source of several splits, or of streams, stays as it is.
    """
    rows = next(iter(source.splits.values()))
    if len(source.splits) != 1 or not isinstance(rows, datasets.Dataset) or not len(rows):
        return source
    for column in rows.column_names:
        is_asked = column in (options.label_column, options.image_column)
        if not is_asked and column.lower() in _NAMES and (names := _split_names(rows, column)) is not None:
            counts = Counter(names)
            places = np.array(names)
            splits = {name: rows.select(np.flatnonzero(places == name)) for name in counts}
            shown = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            warning = f"The rows are split by their column {column!r}: {shown}."
            return dataclasses.replace(source, splits=splits, warnings=(*source.warnings, warning))
    return source


def _split_names(rows: datasets.Dataset, column: str) -> list[str] | None:
    """The split of each row; None where a cell is no name of one."""
    feature = rows.features[column]
    values = whole_column(rows, column)
    if isinstance(feature, datasets.ClassLabel):
        cells = [
            None if number is None or number < 0 else feature.names[number] for number in values.to_pylist()
        ]
    elif isinstance(values, pa.Array) and is_text(values.type):
        cells = values.to_pylist()
    else:
        return None
    found = [SPLIT_NAMES.get(str(cell).strip().lower()) for cell in cells]
    return None if None in found else [str(name) for name in found]
