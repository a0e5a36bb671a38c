"""What a search may change: the loss's a, alpha and beta, and the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jal_hf.losses import create_loss, loss_info

SEARCHED = ("alpha", "beta", "a")
LEARNING_RATE = "learning_rate"


@dataclass(frozen=True)
class Interval:
    """A parameter's range, searched on a log scale, and the value the preset has in it."""

    low: float
    high: float
    preset: float


def search_space(loss: str, parameters: Mapping[str, Any], learning_rate: float) -> dict[str, Interval]:
    """Ranges around the preset's values: a tenth to ten times alpha, beta and the step, a sixth to six a.

    `parameters` are the loss's own, by name. The range of `a` starts where the loss accepts it.
    """
    names = [name for name in SEARCHED if name in loss_info(loss).parameter_names]
    space: dict[str, Interval] = {}
    for name in names:
        value = float(parameters[name])
        if name == "a":
            space[name] = Interval(_lowest_a(loss, parameters, value), 6.0 * value, value)
        else:
            space[name] = Interval(value / 10.0, value * 10.0, value)
    space[LEARNING_RATE] = Interval(learning_rate / 10.0, learning_rate * 10.0, learning_rate)
    return space


def _lowest_a(loss: str, parameters: Mapping[str, Any], preset: float) -> float:
    for candidate in (preset / 6.0, 1.05):
        try:
            create_loss(loss, **{**parameters, "a": candidate})
        except ValueError:
            continue
        return candidate
    return preset
