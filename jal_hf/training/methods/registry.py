"""The training methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jal_hf.ground.sentences import did_you_mean, listed
from jal_hf.training.methods.method import Method


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method.

    Attributes:
        formula: The training loss in one line.
        cost: Time beside the plain run.
        state: What it keeps between steps.
        source: The paper.
    """

    name: str
    create: Callable[..., Method]
    formula: str
    cost: str = "1.0"
    state: str = "none"
    source: str = ""


_METHODS: dict[str, MethodInfo] = {}


def register_method(info: MethodInfo) -> None:
    """Add a method.

    Raises:
        ValueError: The name is taken.
    """
    if info.name in _METHODS:
        raise ValueError(f"A training method {info.name!r} is registered already.")
    _METHODS[info.name] = info


def list_methods() -> list[str]:
    """Names of the training methods, sorted."""
    return sorted(_METHODS)


def method_info(name: str) -> MethodInfo:
    """What is known of a method.

    Raises:
        ValueError: An unknown name; the nearest one is named.
    """
    if name not in _METHODS:
        raise ValueError(
            f"There is no training method {name!r}.{did_you_mean(name, _METHODS)} There are: {listed(list_methods())}."
        )
    return _METHODS[name]


def create_method(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """A method by name.

    Raises:
        ValueError: An unknown name or parameter.
    """
    info = method_info(name)
    try:
        return info.create(**(parameters or {}))
    except TypeError as error:
        raise ValueError(f"Method {name!r} does not take these parameters: {error}.") from error


register_method(MethodInfo("plain", Method, "mean of L(z_i, y_i) over the counted rows"))
