"""`create_loss`: any loss by name, from defaults, a preset and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jal_hf.losses.base import COMMON_PARAMETERS, RobustLoss
from jal_hf.losses.presets import resolve_preset
from jal_hf.losses.registry import LossInfo, check_parameters, loss_info


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
    from jal_hf.losses.joint import JointLoss
    from jal_hf.losses.normalized import Normalized

    key = name.strip().lower() if isinstance(name, str) else name
    if key == "joint":
        check_parameters("joint", params, ("active", "passive", "alpha", "beta"))
        return JointLoss(**params)
    if key == "normalized":
        check_parameters("normalized", params, ("loss",))
        return Normalized(**params)
    if isinstance(key, str) and key.startswith("normalized(") and key.endswith(")"):
        common = {part: params.pop(part) for part in COMMON_PARAMETERS if part in params}
        return Normalized(create_loss(key[len("normalized(") : -1], preset=preset, **params), **common)
    info = loss_info(name)
    if info.reported_only or info.cls is None:
        raise ValueError(f"{info.name} is reported, not implemented: {info.reason}")
    chosen, params, reason = resolve_preset(info, preset, params)
    check_parameters(info.name, params, info.parameter_names)
    loss = _build(info, {**info.default_parameters, **chosen, **params})
    loss.preset_reason = reason
    return loss


def as_loss(given: RobustLoss | str | Mapping[str, Any], role: str) -> RobustLoss:
    """A loss given as an object, a name, or a config."""
    if isinstance(given, RobustLoss):
        return given
    if isinstance(given, str):
        return create_loss(given)
    if isinstance(given, Mapping):
        return create_loss(**given)
    raise TypeError(f"{role} must be a loss, its name or its config, but {type(given).__name__} was given.")


def _build(info: LossInfo, params: Mapping[str, Any]) -> RobustLoss:
    if info.parts is None:
        assert info.cls is not None
        return info.cls(**params)
    from jal_hf.losses.joint import JointLoss

    parts = []
    for part in info.parts:
        accepted = loss_info(part).parameter_names
        given = {**info.part_parameters, **params}
        parts.append(create_loss(part, **{key: given[key] for key in accepted if key in given}))
    own = {key: params[key] for key in ("alpha", "beta", *COMMON_PARAMETERS) if key in params}
    return JointLoss(parts[0], parts[1], **own, registered_as=info.name)
