"""The kinds of noise there are, and `create_noise`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jal_hf.noise.asymmetric import AsymmetricNoise
from jal_hf.noise.base import MODES, LabelNoise
from jal_hf.noise.spec import NoiseSpec, nearest, parse_bool, parse_rate, split_spec
from jal_hf.noise.symmetric import NoNoise, PairFlipNoise, SymmetricNoise

ClassNames = Sequence[str] | None


@dataclass(frozen=True)
class NoiseInfo:
    """One kind of noise.

    Attributes:
        kind: Name in the spec.
        argument: What stands after the colon, as shown to a reader; empty for none.
        summary: One line.
        options: Keys the spec may carry.
        needs_classes: Whether the number of classes must be known beforehand.
        build: Makes the noise from a checked spec, the number of classes (-1 when unknown) and their names.
    """

    kind: str
    argument: str
    summary: str
    options: tuple[str, ...]
    needs_classes: bool
    build: Callable[[NoiseSpec, int, ClassNames], LabelNoise]


_REGISTRY: dict[str, NoiseInfo] = {}


def register_noise(info: NoiseInfo) -> None:
    """Add a kind. Raises ValueError when its name is taken."""
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
            f"The noise kind {kind!r} is unknown.{nearest(kind, _REGISTRY)} There are {', '.join(list_noises())}."
        )
    return _REGISTRY[kind]


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
                f"The noise {spec.kind} has no option {key!r};{nearest(key, info.options)} {known}."
            )
    mode = spec.options.get("mode", "exact")
    if mode not in MODES:
        raise ValueError(
            f"The noise mode {mode!r} is unknown.{nearest(mode, MODES)} There are {', '.join(MODES)}."
        )
    if not info.argument and spec.argument is not None:
        raise ValueError(f"The noise {spec.kind!r} takes nothing after it, not {spec.argument!r}.")
    return spec


def create_noise(
    spec: str | LabelNoise, num_classes: int | None = None, class_names: ClassNames = None
) -> LabelNoise:
    """Build a label noise from its spec, such as `symmetric:0.4` or `asymmetric:0.3,classes=cifar10,mode=iid`.

    Args:
        spec: `KIND:ARGUMENT[,key=value...]`; a noise that is already built is returned as it is.
        num_classes: K; taken from `class_names` when left out. Kinds `none`, `labels` and `human` do not need it.
        class_names: Names of the classes in the order of their ids, for class maps by name.

    Raises:
        ValueError: Anything in the spec is unknown or out of range, or does not fit the classes.
        FileNotFoundError: A file the spec names is absent.
        TypeError: The spec is not a string.
    """
    if isinstance(spec, LabelNoise):
        return spec
    parsed = parse_noise_spec(spec)
    info = noise_info(parsed.kind)
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


def _mode(spec: NoiseSpec) -> str:
    return spec.options.get("mode", "exact")


register_noise(
    NoiseInfo(
        "none", "", "labels as they are", (), False,
        lambda spec, k, names: NoNoise(None if k < 0 else k, names),
    )
)  # fmt: skip
register_noise(
    NoiseInfo(
        "symmetric", "RATE", "each other class is equally likely", ("mode", "include_true_class"), True,
        lambda spec, k, names: SymmetricNoise(
            parse_rate(spec), k, _mode(spec),
            parse_bool("include_true_class", spec.options.get("include_true_class", "false")), names,
        ),
    )
)  # fmt: skip
register_noise(
    NoiseInfo(
        "asymmetric", "RATE", "each class of a map is taken for one other", ("mode", "classes"), True,
        lambda spec, k, names: AsymmetricNoise(
            parse_rate(spec), k, spec.options.get("classes"), _mode(spec), names
        ),
    )
)  # fmt: skip
register_noise(
    NoiseInfo(
        "pairflip", "RATE", "each class is taken for the next one", ("mode",), True,
        lambda spec, k, names: PairFlipNoise(parse_rate(spec), k, _mode(spec), names),
    )
)  # fmt: skip
