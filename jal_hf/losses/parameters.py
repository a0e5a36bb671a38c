"""Checks of a loss's parameters: one sentence each, raised when the loss is built."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from numbers import Real

from jal_hf.ground.sentences import did_you_mean

COMMON_PARAMETERS = ("weight", "reduction", "ignore_index")


_LARGEST = 3.4e38
"""Beyond this a float32, which losses are computed in, is infinite."""


def is_number(value: object) -> bool:
    """Whether the value is a real number of Python or NumPy, which True is not."""
    return not isinstance(value, bool) and isinstance(value, Real)


def require_number(
    loss: str,
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """The value as a float, when it is a finite number within the bounds.

    Raises:
        TypeError: not a number.
        ValueError: not finite, or outside the bounds.
    """
    if not is_number(value):
        raise TypeError(f"{loss}: {name} must be a number, but {value!r} ({type(value).__name__}) was given.")
    bounds = [
        text
        for text, bound in (("at least", at_least), ("greater than", above), ("less than", below))
        if bound is not None
        for text in (f"{text} {bound:g}",)
    ]
    inside = (
        math.isfinite(value)
        and abs(value) <= _LARGEST
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not inside:
        allowed = (
            " and ".join([*bounds, f"at most {_LARGEST:.3g}"] if abs(value) > _LARGEST else bounds)
            or "finite"
        )
        raise ValueError(f"{loss}: {name} must be {allowed}, but {value!r} was given.")
    return float(value)


def require_integer(loss: str, name: str, value: int, *, at_least: int | None = None) -> int:
    """The value as an int, when it is a whole number (3, 3.0) of at least the bound.

    Raises:
        TypeError: not a whole number.
        ValueError: below the bound.
    """
    if not is_number(value) or value % 1 != 0:
        raise TypeError(f"{loss}: {name} must be an integer, but {value!r} was given.")
    if at_least is not None and value < at_least:
        raise ValueError(f"{loss}: {name} must be at least {at_least}, but {value!r} was given.")
    return int(value)


def require_choice(loss: str, name: str, value: str, choices: Iterable[str]) -> str:
    """The value, when it is one of the choices; else a ValueError that names the nearest one."""
    allowed = list(choices)
    if value not in allowed:
        raise ValueError(
            f"{loss}: {name} must be one of {', '.join(allowed)}, but {value!r} was given."
            f"{did_you_mean(value, allowed)}"
        )
    return value


def parameter_names(cls: type) -> tuple[str, ...]:
    """The names of a loss class's own constructor parameters, without the common ones."""
    signature = inspect.signature(cls)
    return tuple(
        name
        for name, parameter in signature.parameters.items()
        if name not in COMMON_PARAMETERS
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    )
