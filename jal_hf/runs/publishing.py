"""What of a run's values may be published: names of data, weights and label files, never the way to them."""

from __future__ import annotations

from typing import Any

from jal_hf.ground.places import place_name, published_spec

PLACES = ("dataset", "model", "weights", "noise")
"""Fields that may hold the way to a file."""


def published_value(name: str, value: Any) -> Any:
    """A value of one of `PLACES` as it may be published."""
    if value is None:
        return None
    return published_spec(str(value)) if name == "noise" else place_name(str(value))
