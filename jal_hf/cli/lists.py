"""Comma-separated lists on the command line of a grid."""

from __future__ import annotations

import re

from jal_hf.noise import parse_noise_spec
from jal_hf.runs.grid.cells import in_order

_OPTION = re.compile(r"[A-Za-z_]+=")


def split_noises(text: str) -> list[str]:
    """Noise specs from a comma-separated list; the commas inside a spec (`symmetric:0.4,mode=iid`) are kept.

    Raises:
        ValueError: A spec that cannot be, or none at all.
    """
    specs: list[str] = []
    for part in _words(text):
        if specs and _OPTION.match(part):
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    for spec in specs:
        parse_noise_spec(spec)
    return _distinct(specs, "noise")


def split_losses(text: str) -> list[str]:
    """Loss names from a comma-separated list."""
    return _distinct([name.lower() for name in _words(text)], "loss")


def split_methods(text: str) -> list[str]:
    """Training methods from a comma-separated list, e.g. `plain,twin+ema`."""
    return _distinct([in_order(name.lower()) for name in _words(text)], "method")


def split_seeds(text: str) -> list[int]:
    """Seeds from a comma-separated list, e.g. `0,1,2`.

    Raises:
        ValueError: Something that is no whole number of at least 0.
    """
    words = _words(text)
    if not all(word.isdigit() for word in words):
        raise ValueError(f"--seeds takes whole numbers such as 0,1,2, got {text!r}.")
    return [int(word) for word in _distinct(words, "seed")]


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError(f"Expected a comma-separated list, got {text!r}.")
    return words


def _distinct(words: list[str], what: str) -> list[str]:
    repeated = sorted({word for word in words if words.count(word) > 1})
    if repeated:
        raise ValueError(f"The {what} {repeated[0]!r} stands twice in the list.")
    return words
