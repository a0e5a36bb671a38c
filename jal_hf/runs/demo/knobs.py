"""The numbers of a loss that a person may move, and how far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jal_hf.analysis.loss_curves import loss_curves_figure
from jal_hf.analysis.style import figure_picture
from jal_hf.losses import create_loss

# Guards against a logarithm of zero, and what is drawn at random, say nothing about a curve.
_NO_KNOBS = frozenset({"eps", "seed"})


@dataclass(frozen=True)
class Knob:
    """A parameter's default, its least and greatest value, and the step between them."""

    name: str
    value: float
    least: float
    most: float
    step: float


def knobs(loss: str) -> list[Knob]:
    """The parameters of a loss that are numbers, each with a range around its default that the loss accepts."""
    values = create_loss(loss).hyperparameters()
    numbers = {
        name: value
        for name, value in values.items()
        if name not in _NO_KNOBS and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return [_knob(loss, name, value) for name, value in numbers.items()]


MOST_KNOBS = 5
"""No loss has more; a test counts them."""


def curves_of(loss: str, values: Sequence[float], num_classes: int) -> Any:
    """A picture of the loss with these values of its knobs, in their order, beside its defaults and cross entropy.

    Raises:
        ValueError, TypeError: The loss refuses a value; the sentence says what is allowed.
    """
    params: dict[str, Any] = {
        knob.name: int(value) if isinstance(knob.value, int) else float(value)
        for knob, value in zip(knobs(loss), values, strict=False)
    }
    drawn = {f"{loss} as set": create_loss(loss, **params), f"{loss}, defaults": create_loss(loss)}
    if loss != "ce":
        drawn["ce"] = create_loss("ce")
    return figure_picture(loss_curves_figure(drawn, num_classes))


def _knob(loss: str, name: str, value: float) -> Knob:
    if isinstance(value, int):
        return Knob(name, value, 1, max(4 * value, 2), 1)
    most = next(x for x in (4.0 * value, 2.0 * value, 1.0, value) if x >= value and _accepts(loss, name, x))
    step = 10.0 ** (math.floor(math.log10(most)) - 2)
    least = next(x for x in (0.0, step, 1.0, 1.0 + step, value) if x <= value and _accepts(loss, name, x))
    return Knob(name, value, least, most, step)


def _accepts(loss: str, name: str, value: float) -> bool:
    params: dict[str, Any] = {name: value}
    try:
        create_loss(loss, **params)
    except ValueError:
        return False
    return True
