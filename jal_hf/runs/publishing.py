"""What of a run's values may be published: names of data, weights and label files, never the way to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.ground.places import absolute_place, absolute_spec, place_name, published_spec
from jal_hf.models.sources import is_checkpoint_name

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


def place_here(name: str, value: Any) -> str | None:
    """What finds the value of one of `PLACES` on this machine from any folder; None where its name alone does."""
    text = str(value)
    if value is None or text in ("digits", DATASET_OBJECT):
        return None
    if name == "noise":
        found = absolute_spec(text)
    else:
        found = absolute_place(text) if name != "model" or is_checkpoint_name(text) else None
    return found or (text if published_value(name, value) != value else None)


def published_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by field name, each as `published_value` has it."""
    return {name: published_value(name, value) for name, value in values.items()}
