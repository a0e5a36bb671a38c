"""What is known of each loss, one frozen record by name, and the classes that are made of other losses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from jal_hf.ground.sentences import did_you_mean
from jal_hf.losses.base import RobustLoss
from jal_hf.losses.parameters import COMMON_PARAMETERS, parameter_names


@dataclass(frozen=True)
class LossInfo:
    """What is known of a loss; tables, help texts and cards are made from it.

    `active`, `passive`: whether only the label's own term of the loss is non-zero, or other classes' terms
    too (Ma et al., 2020). `symmetric`: the loss summed over all labels is a constant. `asymmetric`: for some
    of its parameters the minimiser of the weighted loss is the class of the largest weight (of symmetric losses at
    least where the other weights are equal). `has_detached_factors`: part of the formula gets no gradient, as in the
    authors' codes. `closed_form`: forward and gradient are computed together by one autograd function.
    """

    name: str
    cls: type[RobustLoss] | None
    summary: str = ""
    formula: str = ""
    citation: str = ""
    active: bool = False
    passive: bool = False
    symmetric: bool = False
    asymmetric: bool = False
    has_detached_factors: bool = False
    closed_form: bool = False
    soft_targets: bool = True
    random: bool = False
    parts: tuple[str, str] | None = None
    part_parameters: Mapping[str, Any] = field(default_factory=dict)
    default_parameters: Mapping[str, Any] = field(default_factory=dict)
    reported_only: bool = False
    reason: str = ""

    @property
    def kind(self) -> str:
        """`active`, `passive`, `active + passive`, or `-` where the loss does not split by classes."""
        names = [name for name, held in (("active", self.active), ("passive", self.passive)) if held]
        return " + ".join(names) or "-"

    @property
    def symmetry(self) -> str:
        """`symmetric`, `asymmetric`, or `-`."""
        if self.symmetric:
            return "symmetric"
        return "asymmetric" if self.asymmetric else "-"

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters `create_loss(name, ...)` takes besides weight, reduction and ignore_index."""
        if self.cls is None:
            return ()
        if self.parts is None:
            return parameter_names(self.cls)
        names = ["alpha", "beta"]
        for part in self.parts:
            names += [name for name in loss_info(part).parameter_names if name not in names]
        return tuple(name for name in names if name not in self.part_parameters)


_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
_REGISTRY: dict[str, LossInfo] = {}
_COMPOSITIONS: dict[str, type[RobustLoss]] = {}
LossClass = TypeVar("LossClass", bound=type[RobustLoss])


def register(info: LossInfo) -> None:
    """Adds a record.

    Raises:
        ValueError: the name is taken, or is none that can be asked for.
    """
    if not _NAME.fullmatch(info.name):
        raise ValueError(
            f"a loss is asked for by small letters, digits and the signs . _ + -, so it cannot be named {info.name!r}."
        )
    if info.name in _REGISTRY:
        raise ValueError(f"a loss named {info.name!r} is registered already; choose another name.")
    _REGISTRY[info.name] = info


def register_loss(name: str, **facts: Any) -> Callable[[LossClass], LossClass]:
    """Class decorator: registers a loss class under a name, with the facts of its `LossInfo`.

    All facts may be left out; the summary is then the first line of the class's docstring.

    Raises:
        TypeError: the name is no string, or what is decorated no subclass of `RobustLoss`.
        ValueError: a fact that there is not, the nearest one named; a name that is taken or cannot be asked for.

    Example:
        @register_loss("mine", formula="-log p_y", asymmetric=True)
        class MyLoss(RobustLoss): ...
    """
    if not isinstance(name, str):
        raise TypeError(f"register_loss is given a name, as in @register_loss('mine'), and not {name!r}.")
    told_by_class = ("name", "cls", "closed_form", "soft_targets", "random")
    known = [item.name for item in fields(LossInfo) if item.name not in told_by_class]
    for fact in facts:
        if fact not in known:
            raise ValueError(
                f"a loss is registered with no {fact!r}.{did_you_mean(fact, known)} It takes: {', '.join(known)}."
            )

    def decorate(cls: LossClass) -> LossClass:
        if not (isinstance(cls, type) and issubclass(cls, RobustLoss)):
            raise TypeError(f"the loss {name!r} must be a subclass of RobustLoss, and {cls!r} is none.")
        own = {"summary": (cls.__doc__ or "").strip().partition("\n")[0].rstrip("."), **facts}
        cls.name, cls.symmetric = name, facts.get("symmetric", False)
        register(
            LossInfo(
                name=name,
                cls=cls,
                closed_form=cls.slope is not None or cls._rule is not RobustLoss._rule,
                soft_targets=cls.soft_targets,
                random=cls.random,
                **own,
            )
        )
        return cls

    return decorate


def register_composition(name: str) -> Callable[[LossClass], LossClass]:
    """Class decorator: a class that is made of other losses, which `create_loss(name, ...)` builds from them."""

    def decorate(cls: LossClass) -> LossClass:
        cls.name = name
        _COMPOSITIONS[name] = cls
        return cls

    return decorate


def composition(name: str) -> type[RobustLoss] | None:
    """The class made of other losses that has this name, or None."""
    return _COMPOSITIONS.get(name)


def list_losses() -> list[str]:
    """Sorted names of every loss that `create_loss` builds."""
    return sorted(name for name, info in _REGISTRY.items() if not info.reported_only)


def all_infos() -> Iterator[LossInfo]:
    """Every record by name, losses that are reported only included."""
    return iter(sorted(_REGISTRY.values(), key=lambda info: info.name))


def loss_info(name: str) -> LossInfo:
    """The record of a loss.

    Raises:
        ValueError: no such loss; names the nearest ones.
    """
    if not isinstance(name, str):
        raise TypeError(f"a loss name must be a string, but {name!r} was given.")
    info = _REGISTRY.get(name.strip().lower())
    if info is None:
        raise ValueError(
            f"there is no loss named {name!r}.{did_you_mean(name, _REGISTRY)} "
            f"Known losses: {', '.join(list_losses())}."
        )
    return info


def check_parameters(name: str, given: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Refuses a parameter the loss does not have, naming the nearest one it has.

    Raises:
        ValueError: an unknown parameter.
    """
    for parameter in given:
        if parameter not in (*allowed, *COMMON_PARAMETERS):
            own = ", ".join(allowed) or "none of its own"
            raise ValueError(
                f"{name} has no parameter {parameter!r}.{did_you_mean(parameter, allowed)} "
                f"It takes: {own}; and {', '.join(COMMON_PARAMETERS)}."
            )
