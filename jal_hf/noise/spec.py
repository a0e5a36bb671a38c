"""The spec string `KIND:ARGUMENT[,key=value...]`, taken apart and put together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_OPTION = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*=")


@dataclass(frozen=True)
class NoiseSpec:
    """A spec taken apart: kind, argument (a rate or a file) and options, all still text."""

    kind: str
    argument: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def split_spec(text: str) -> NoiseSpec:
    """Take a spec apart without knowing any kind.

    Raises:
        TypeError: The spec is not a string.
        ValueError: It is empty, or names an option twice or without a value.
    """
    if not isinstance(text, str):
        raise TypeError(f"The noise is {text!r}; give a spec such as 'symmetric:0.4'.")
    kind, colon, rest = text.strip().partition(":")
    if not colon:
        kind, _, rest = kind.partition(",")
        pieces = ["", *rest.split(",")] if rest else [""]
    else:
        pieces = rest.split(",")
    if not kind.strip():
        raise ValueError(f"The noise {text!r} names no kind; write KIND:RATE, such as 'symmetric:0.4'.")
    first_option = len(pieces)
    while first_option > 0 and _OPTION.match(pieces[first_option - 1]):
        first_option -= 1
    argument = ",".join(pieces[:first_option]).strip()
    options: dict[str, str] = {}
    for piece in pieces[first_option:]:
        key, _, value = (part.strip() for part in piece.partition("="))
        if key in options:
            raise ValueError(f"The noise {text!r} gives {key!r} twice; give it once.")
        if not value:
            raise ValueError(f"The noise {text!r} gives no value for {key!r}; write {key}=VALUE.")
        options[key] = value
    return NoiseSpec(kind.strip().lower(), argument or None, options)


def join_spec(kind: str, argument: str | None, options: Mapping[str, str] | None = None) -> str:
    """Put a spec together: the inverse of `split_spec`."""
    head = kind if argument is None else f"{kind}:{argument}"
    return ",".join([head, *(f"{key}={value}" for key, value in (options or {}).items())])


def rate_text(rate: float) -> str:
    """The shortest text that reads back as the same rate."""
    return repr(float(rate)).removesuffix(".0")


def parse_rate(spec: NoiseSpec) -> float:
    """Read the argument as a number."""
    if spec.argument is None:
        raise ValueError(f"The noise {spec.kind!r} needs a rate; write it as '{spec.kind}:0.4'.")
    try:
        return float(spec.argument)
    except ValueError as error:
        raise ValueError(
            f"The noise rate {spec.argument!r} of {spec.kind} is not a number; write '{spec.kind}:0.4'."
        ) from error


def parse_bool(key: str, value: str) -> bool:
    """Read true or false."""
    if value.lower() in ("true", "1", "yes"):
        return True
    if value.lower() in ("false", "0", "no"):
        return False
    raise ValueError(
        f"The noise option {key}={value} is neither true nor false; write {key}=true or {key}=false."
    )
