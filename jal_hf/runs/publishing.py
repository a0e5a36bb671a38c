"""What of a run's values may be published: names of data, weights and label files, never the way to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jal_hf.ground.places import place_name, published_spec

PLACES = ("dataset", "model", "weights", "noise")
"""Fields that say where data, weights and labels lie: a run that is looked at again needs them in full."""
_PATHS = (
    *("accelerator_config", "deepspeed", "fsdp_config"),
    *("logging_dir", "output_dir", "resume_from_checkpoint"),
)


def published_value(name: str, value: Any) -> Any:
    """The value of a field as it may be published: of what lies on a disk its name."""
    if value is None or name not in (*PLACES, *_PATHS):
        return value
    if name in _PATHS and not isinstance(value, str):  # a config that is given whole
        return value
    return published_spec(str(value)) if name == "noise" else place_name(str(value))


def published_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by field name, each as `published_value` has it."""
    return {name: published_value(name, value) for name, value in values.items()}
