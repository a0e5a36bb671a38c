"""A table whose rows say of themselves to which split they belong."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np

from jal_hf.data.column_values import whole_column
from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.readers.source import ReadOptions, Source, Splits
from jal_hf.data.stream_loading import with_features

_NAMES = ("split", "subset", "fold")
_FIRST = 100


def split_by_column(source: Source, options: ReadOptions, *, can_count: bool = True) -> Source:
    """The source itself, or with its only split cut up by a column that names splits and nothing else, and a warning.

    Rows for testing would be trained on otherwise. A source of several splits stays as it is.

    Args:
        source: rows or streams.
        options: how they were read.
        can_count: whether a stream may be read once for its cells; one that may not stays whole, with a warning where
            its first rows name splits.
    """
    (split, rows), *others = source.splits.items()
    if others:
        return source
    is_stream = isinstance(rows, datasets.IterableDataset)
    if is_stream:
        rows = with_features(rows, split)
    for column in rows.features or ():
        if column in (options.label_column, options.image_column) or column.lower() not in _NAMES:
            continue
        names = list(_split_names(rows if can_count or not is_stream else rows.take(_FIRST), column))
        if not names or None in names:
            continue
        counts = Counter(map(str, names))
        if not is_stream:
            places = np.array(names)
            splits: Splits = {name: rows.select(np.flatnonzero(places == name)) for name in counts}
        elif can_count:
            splits = {name: _part(rows, column, name) for name in counts}
        else:
            warning = (
                f"The column {column!r} names splits, but a stream that comes from elsewhere is not split by it: all "
                "its rows are used. Load it without streaming, or give a dict of streams, each filtered by it."
            )
            return dataclasses.replace(source, warnings=(*source.warnings, warning))
        shown = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        warning = f"The rows are split by their column {column!r}: {shown}."
        return dataclasses.replace(source, splits=splits, warnings=(*source.warnings, warning))
    return source


def _split_names(rows: datasets.Dataset | datasets.IterableDataset, column: str) -> Iterator[str | None]:
    """The split of each row; None where a cell is no name of one."""
    if isinstance(rows, datasets.Dataset):
        yield from _named(whole_column(rows, column).to_pylist(), rows.features[column])
        return
    for batch in rows.select_columns([column]).iter(batch_size=1000):
        yield from _named(batch[column], rows.features[column])


def _named(cells: Sequence[Any], feature: Any) -> list[str | None]:
    if isinstance(feature, datasets.ClassLabel):
        known = dict(enumerate(feature.names))
        cells = [known.get(number) for number in cells]
    return [SPLIT_NAMES.get(cell.strip().lower()) if isinstance(cell, str) else None for cell in cells]


def _part(stream: datasets.IterableDataset, column: str, name: str) -> datasets.IterableDataset:
    """The rows of a stream that belong to a split; a filter would open every image that it passes over."""
    for image, feature in stream.features.items():
        if isinstance(feature, datasets.Image):
            stream = stream.cast_column(image, datasets.Image(decode=False))
    is_of = functools.partial(_belong, feature=stream.features[column], name=name)
    return stream.filter(is_of, input_columns=[column], batched=True)


def _belong(cells: Sequence[Any], *, feature: Any, name: str) -> list[bool]:
    return [found == name for found in _named(cells, feature)]
