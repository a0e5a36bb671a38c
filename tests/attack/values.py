"""Hostile values, and each field of a run with those that it cannot take."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from hypothesis import strategies as st

from jal_hf.runs.values import _types, known_fields
from tests.attack.helpers import TOKEN

ODD_TEXT = (
    "",
    " ",
    "\0",
    "\ud800",
    "$\\frac{",
    "../../etc",
    "x" * 5000,
    "é\n\t\x1b[31m",
    "{{7*7}}",
    "<script>",
    TOKEN,
)
ODD = (None, True, -1, 0, 10**400, float("nan"), float("inf"), -1e308, [], [[]], {}, {"a": 1}, *ODD_TEXT)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def wrong_values() -> Iterator[tuple[str, Any]]:
    """A field and a value that is not of its type, for every field of a run."""
    for name, hint in sorted((name, _types()[name]) for name in known_fields()):
        for value in ({"a": [1]}, [{"b": 2}], "no such value \0", float("nan")):
            if not _may_take(hint, value):
                yield name, value


def _may_take(hint: Any, value: Any) -> bool:
    hints = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = {get_origin(part) or part for part in hints}
    if Any in kinds or object in kinds:
        return True
    if isinstance(value, dict):
        return dict in kinds
    if isinstance(value, list):
        return list in kinds or tuple in kinds
    # No field takes a NUL, whatever its type, and no number is NaN.
    return False
