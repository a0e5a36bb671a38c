"""Which loss is trained: any of them by name, from defaults, a preset, parameters, the classes and the noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jal_hf.losses.automatic import choose_a
from jal_hf.losses.base import LossConfig, RobustLoss
from jal_hf.losses.parameters import COMMON_PARAMETERS, parameter_names
from jal_hf.losses.presets import default_parameters, loss_preset, preset_dataset
from jal_hf.losses.registry import LossInfo, check_parameters, composition, loss_info


def create_loss(name: str, *, preset: str | None = None, **params: Any) -> RobustLoss:
    """Builds a loss; parameters given win over the preset's, and those over the defaults.

    Args:
        name: a registered name, or `joint` (with active=, passive=, alpha=, beta=), or `normalized` (loss=)
            or `normalized(NAME)`.
        preset: a dataset of the papers (`cifar10`, ...), or `auto` with `num_classes=` and, if known,
            `noise=` (rate of symmetric noise, transition matrix, or an object that has one).
        params: the loss's parameters, and weight, reduction, ignore_index.

    Raises:
        ValueError, TypeError: an unknown loss, parameter or preset, or a value outside its range.

    Example:
        >>> create_loss("jal-ce", preset="cifar100").config()["alpha"]
        5.0
    """
    key = name.strip().lower() if isinstance(name, str) else name
    made_of_others = composition(key)
    if made_of_others is not None:
        if preset is not None:
            known = "auto" if preset == "auto" else preset_dataset(preset)
            raise ValueError(
                f"{key} has no presets, but preset {known!r} was given: give the parameters of its parts."
            )
        allowed = [part for part in parameter_names(made_of_others) if part != "registered_as"]
        check_parameters(key, params, tuple(allowed))
        return made_of_others(**params)
    if isinstance(key, str) and key.startswith("normalized(") and key.endswith(")"):
        common = {part: params.pop(part) for part in COMMON_PARAMETERS if part in params}
        inner = create_loss(key[len("normalized(") : -1], preset=preset, **params)
        return create_loss("normalized", loss=inner, **common)
    info = loss_info(name)
    if info.reported_only:
        raise ValueError(f"{info.name} is reported, not implemented: {info.reason}")
    if preset == "auto":
        return _automatic(info, params)
    check_parameters(info.name, params, info.parameter_names)
    if preset is None:
        return _build(info, {**default_parameters(info.name), **params})
    chosen = loss_preset(info.name, preset)
    loss = _build(info, {**chosen.params, **params})
    own = [key for key in params if key not in COMMON_PARAMETERS and params[key] != chosen.params.get(key)]
    loss.preset_reason = chosen.source + (f"; but {', '.join(own)} as given" if own else "")
    return loss


def resolve_loss(
    loss: RobustLoss | str | Mapping[str, Any],
    *,
    preset: str | None = None,
    params: Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    noise: Any = None,
) -> RobustLoss:
    """The loss to train, from all that is known; nothing given is changed.

    Args:
        loss: an object, which is returned as it is; a name; or a config with a `name`.
        preset: a dataset of the papers, or `auto`, which chooses a from `num_classes` and `noise`.
        params: the loss's parameters; they win over the preset's.
        num_classes: K, where it is known; class weights and counts are checked against it.
        noise: the label noise, where it is known: rate of symmetric noise, (K, K) matrix, or an object with
            `transition_matrix()` (one without a matrix counts as symmetric noise of its `rate`).

    Raises:
        TypeError: what is no loss.
        ValueError: an unknown loss, parameter or preset, a value outside its range, or two of these that
            contradict each other.

    Example:
        >>> resolve_loss("jal-ce", preset="auto", num_classes=10, noise=0.4).config()["a"]
        2.7
    """
    given = dict(params or {})
    if isinstance(loss, RobustLoss):
        also = [f"preset {preset!r}"] if preset is not None else []
        also += [f"parameters {', '.join(given)}"] if given else []
        if also:
            raise ValueError(
                f"the loss {loss.name} is built already, but {' and '.join(also)} were given as well; give its "
                "name instead, or build it with them."
            )
        return _fitting(loss, num_classes)
    name, config = _name_and_config(loss)
    for key in config.keys() & given.keys():
        if config[key] != given[key]:
            raise ValueError(
                f"{name}: {key} is {config[key]!r} in the config of the loss, but {given[key]!r} was given as well."
            )
    given = {**config, **given}
    if preset == "auto" and composition(name.strip().lower()) is None:
        for key, value in (("num_classes", num_classes), ("noise", noise)):
            if key == "num_classes" and value is not None and given.get(key, value) != value:
                raise ValueError(
                    f"num_classes is {given[key]} in the parameters of {name}, but the data has {value}."
                )
            if value is not None:
                given[key] = value
    return _fitting(create_loss(name, preset=preset, **given), num_classes)


def as_loss(given: RobustLoss | str | Mapping[str, Any], role: str) -> RobustLoss:
    """A loss given as an object, a name, or a config."""
    if isinstance(given, RobustLoss):
        return given
    if not isinstance(given, (str, Mapping)):
        raise TypeError(
            f"{role} must be a loss, its name or its config, but {type(given).__name__} was given."
        )
    name, config = _name_and_config(given)
    return create_loss(name, **config)


def _name_and_config(given: str | Mapping[str, Any]) -> tuple[str, LossConfig]:
    if isinstance(given, str):
        return given, {}
    if not isinstance(given, Mapping):
        raise TypeError(f"loss must be a loss, its name or its config, but {type(given).__name__} was given.")
    if not isinstance(given.get("name"), str):
        raise ValueError(
            f"a loss's config without a name was given: {', '.join(map(str, given)) or 'empty'}."
        )
    return given["name"], {key: value for key, value in given.items() if key != "name"}


def _fitting(loss: RobustLoss, num_classes: int | None) -> RobustLoss:
    """The loss, when what it holds for each class is there for K classes."""
    if num_classes is not None:
        for key, values in (("weight", loss.weight), *loss.config().items()):
            if key in ("weight", "class_counts") and values is not None and len(values) != num_classes:
                raise ValueError(
                    f"{loss.name}: {key} has {len(values)} entries, but there are {num_classes} classes."
                )
    return loss


def _automatic(info: LossInfo, params: LossConfig) -> RobustLoss:
    """With the smallest safe a of the theorem, or the user's own beside what is safe."""
    given = {key: value for key, value in params.items() if key not in ("num_classes", "noise")}
    check_parameters(info.name, given, info.parameter_names)
    loss = _build(info, {**default_parameters(info.name), **given})
    a, reason = choose_a(loss, params.get("num_classes"), params.get("noise"))
    if a is not None and "a" not in given:
        loss = _build(info, {**default_parameters(info.name), **given, "a": a})
    elif a is not None:
        reason = f"a = {given['a']:g} as given; {reason.partition(': ')[2]}, would be {a:g}"
    loss.preset_reason = reason
    return loss


def _build(info: LossInfo, params: Mapping[str, Any]) -> RobustLoss:
    cls: Callable[..., RobustLoss] | None = info.cls
    if cls is None:
        raise TypeError(f"the loss {info.name!r} is registered without a class, so it cannot be built.")
    if info.parts is None:
        return cls(**params)
    parts = []
    for part in info.parts:
        accepted = loss_info(part).parameter_names
        given = {**info.part_parameters, **params}
        parts.append(create_loss(part, **{key: given[key] for key in accepted if key in given}))
    own = {key: params[key] for key in ("alpha", "beta", *COMMON_PARAMETERS) if key in params}
    return cls(*parts, **own, registered_as=info.name)
