"""Parameters of a loss or a method, as a mapping or as the JSON of a flag."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jal_hf.ground.files import JsonObject
from jal_hf.ground.sentences import shortened


def parse_json_object(name: str, value: Mapping[str, Any] | str | None) -> JsonObject:
    """Parameters from a mapping or a JSON object.

    Raises:
        ValueError: Text that is not a JSON object.
    """
    if value is None:
        return {}
    given = value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f'{name} must be a JSON object such as {{"a": 30}}, got {shortened(given)!r}: {error}'
            ) from error
    if not isinstance(value, Mapping):
        raise ValueError(f'{name} must be a JSON object such as {{"a": 30}}, got {shortened(given)!r}.')
    return dict(value)
