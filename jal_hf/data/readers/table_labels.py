"""Labels of CSV and TSV tables, which are read as texts: a guess of their type would make `7` of `007`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from jal_hf.data.column_values import is_text, whole_column, with_column
from jal_hf.data.columns import LABEL_NAMES

_BOOLEANS = ({"False", "True"}, {"FALSE", "TRUE"}, {"false", "true"})
_MOST = 2**63
_TRUE_LABELS = "clean_label"


def label_converters(asked: str | None) -> dict[str, type[str]]:
    """What makes pandas leave the columns that may hold labels as they are, for `converters`."""
    return dict.fromkeys((*LABEL_NAMES, *([asked] if asked is not None else []), _TRUE_LABELS), str)


def with_label_types(
    splits: Mapping[str, datasets.Dataset], columns: Iterable[str]
) -> dict[str, datasets.Dataset]:
    """The splits with texts of labels as numbers where nothing is lost by that, the same in all splits.

    Cells without text are empty. Numbers are whole ones, booleans and such as `2.0`; beside another, `007` is a text.
    """
    found = dict(splits)
    has_names = False
    for column in columns:
        held = {name: rows for name, rows in found.items() if column in rows.column_names}
        values = {name: whole_column(rows, column) for name, rows in held.items()}
        if not all(is_text(cells.type) or pa.types.is_null(cells.type) for cells in values.values()):
            continue
        texts = {text for cells in values.values() for text in pc.unique(cells).to_pylist()} - {None, ""}
        # true labels are texts beside labels that are: both name the same classes
        numbers = None if has_names and column == _TRUE_LABELS else _numbers(texts)
        has_names = has_names or (bool(texts) and numbers is None)
        first = None if numbers is None else next(iter(numbers.values()))
        kind = {bool: "bool", int: "int64", float: "float64"}.get(type(first), "string")
        for name, rows in held.items():
            cells = values[name].to_pylist()
            if numbers is None and "" not in cells:
                continue
            typed = [(cell or None) if numbers is None else numbers.get(cell) for cell in cells]
            found[name] = with_column(rows, column, typed, datasets.Value(kind)).select_columns(
                rows.column_names
            )
    return found


def _numbers(texts: set[str]) -> dict[str | None, Any] | None:
    """Each text's number or truth; None where one has none, or where a number would be written in another way."""
    if not texts:
        return None
    if any(texts <= pair for pair in _BOOLEANS):
        return {text: text.lower() == "true" for text in texts}
    whole: dict[str | None, int] = {}
    broken: dict[str | None, float] = {}
    for text in texts:
        with contextlib.suppress(ValueError):
            if str(int(text)) == text.strip() and abs(int(text)) < _MOST:
                whole[text] = int(text)
                continue
        with contextlib.suppress(ValueError):
            if repr(float(text)) == text.strip() and math.isfinite(float(text)):
                broken[text] = float(text)
                continue
        return None
    if not broken:
        return dict(whole)
    # `1` beside `1.0` may be two classes
    values = {**{text: float(number) for text, number in whole.items()}, **broken}
    if len(set(values.values())) < len(texts):
        return None
    is_whole = all(value.is_integer() and abs(value) < _MOST for value in values.values())
    return {text: int(value) for text, value in values.items()} if is_whole else dict(values)
