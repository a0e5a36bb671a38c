"""The kinds of noise there are, and `create_noise`."""

from __future__ import annotations

import operator
import re
from typing import Any

from jal_hf.ground.sentences import did_you_mean
from jal_hf.noise.base import MODES, LabelNoise
from jal_hf.noise.info import ClassNames, NoiseInfo
from jal_hf.noise.kinds import KINDS
from jal_hf.noise.spec import NoiseSpec, join_spec, parse_rate, rate_text, split_spec

_KIND = re.compile(r"[a-z0-9][a-z0-9._+-]*")
_REGISTRY: dict[str, NoiseInfo] = {info.kind: info for info in KINDS}


def register_noise(info: NoiseInfo) -> None:
    """Add a kind.

    Raises:
        TypeError: What is given is no `NoiseInfo`.
        ValueError: Its name is taken, or is none that a spec can begin with.
    """
    if not isinstance(info, NoiseInfo):
        raise TypeError(f"register_noise takes a NoiseInfo, not {info!r}.")
    if not _KIND.fullmatch(info.kind):
        raise ValueError(
            f"A noise is asked for by small letters, digits and the signs . _ + -, so its kind cannot be {info.kind!r}."
        )
    if info.kind in _REGISTRY:
        raise ValueError(f"The noise kind {info.kind!r} is registered already.")
    _REGISTRY[info.kind] = info


def list_noises() -> list[str]:
    """Sorted names of all kinds."""
    return sorted(_REGISTRY)


def noise_info(kind: str) -> NoiseInfo:
    """The record of one kind. Raises ValueError, with what exists, for an unknown one."""
    if kind not in _REGISTRY:
        raise ValueError(
            f"The noise kind {kind!r} is unknown.{did_you_mean(kind, _REGISTRY)} There are "
            f"{', '.join(list_noises())}."
        )
    return _REGISTRY[kind]


def noise_family(kind: str) -> str:
    """What the papers' tables call a kind; one that is not registered counts as symmetric."""
    return _REGISTRY[kind].cls.family if kind in _REGISTRY else LabelNoise.family


def parse_noise_spec(text: str) -> NoiseSpec:
    """Take a spec apart and check its kind, its keys and its mode, before any dataset is known.

    Raises:
        ValueError: Kind, key or mode is unknown; the sentence names the nearest and what exists.
        TypeError: The spec is not a string.
    """
    spec = split_spec(text)
    info = noise_info(spec.kind)
    for key in spec.options:
        if key not in info.options:
            known = f"it knows {', '.join(info.options)}" if info.options else "it has no options"
            raise ValueError(
                f"The noise {spec.kind} has no option {key!r};{did_you_mean(key, info.options)} {known}."
            )
    mode = spec.options.get("mode", "exact")
    if mode not in MODES:
        raise ValueError(
            f"The noise mode {mode!r} is unknown.{did_you_mean(mode, MODES)} There are {', '.join(MODES)}."
        )
    if not info.argument and spec.argument is not None:
        raise ValueError(f"The noise {spec.kind!r} takes nothing after it, not {spec.argument!r}.")
    return spec


def canonical_spec(text: str) -> str:
    """The one spelling of all specs that ask for the same noise: `Symmetric: .40` is `symmetric:0.4`.

    Raises:
        ValueError, TypeError: As `parse_noise_spec`; or a rate that is no number.
    """
    spec = parse_noise_spec(text)
    names = {"include_true_class": "include_true"}
    options = {names.get(key, key): value.lower() if key in (*names, "mode") else value
               for key, value in sorted(spec.options.items())}  # fmt: skip
    if options.get("mode") == "exact":
        del options["mode"]
    is_rate = noise_info(spec.kind).argument == "RATE"
    return join_spec(spec.kind, rate_text(parse_rate(spec)) if is_rate else spec.argument, options)


def create_noise(
    spec: str | LabelNoise, num_classes: int | None = None, class_names: ClassNames = None
) -> LabelNoise:
    """Build a label noise from its spec, such as `asymmetric:0.3,classes=cifar10,mode=iid`.

    Args:
        spec: `KIND:ARGUMENT[,key=value...]`; a noise that is already built is returned as it is.
        num_classes: K; taken from `class_names` when left out. Kinds that read a file and `none` do
            without.
        class_names: Names of the classes in the order of their ids, for class maps by name.

    Raises:
        ValueError: Anything in the spec is unknown or out of range, or does not fit the classes.
        FileNotFoundError: A file the spec names is absent.
        TypeError: The spec is not a string, or num_classes no integer.
    """
    if isinstance(spec, LabelNoise):
        return spec
    parsed = parse_noise_spec(spec)
    info = noise_info(parsed.kind)
    num_classes = None if num_classes is None else _whole(num_classes)
    if class_names is not None:
        if num_classes is None:
            num_classes = len(class_names)
        elif num_classes != len(class_names):
            raise ValueError(f"There are {len(class_names)} class names but num_classes is {num_classes}.")
    if num_classes is None and info.needs_classes:
        raise ValueError(f"The noise {parsed.kind!r} needs the number of classes; give num_classes.")
    if num_classes is not None and num_classes < (2 if info.needs_classes else 1):
        raise ValueError(f"num_classes is {num_classes}; label noise needs at least 2 classes.")
    return info.build(parsed, -1 if num_classes is None else num_classes, class_names)


def _whole(num_classes: Any) -> int:
    """The number of classes as an int; NumPy's integers are taken too."""
    try:
        return operator.index(num_classes)
    except TypeError as error:
        raise TypeError(f"num_classes is {num_classes!r}; give an integer.") from error
