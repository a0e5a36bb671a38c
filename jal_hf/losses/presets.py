"""Presets: the papers' parameters per dataset, never per noise rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jal_hf.ground.sentences import did_you_mean
from jal_hf.losses.base import LossConfig
from jal_hf.losses.preset_table import DATASET_DECAY, PRESETS
from jal_hf.losses.registry import composition, loss_info

DATASETS = tuple(DATASET_DECAY)
SAME_SETTINGS_AS = {"cifar10n": "cifar10", "cifar100n": "cifar100", "webvision": "webvision-mini"}


@dataclass(frozen=True)
class LossPreset:
    """Parameters and decay of one loss on one dataset, and where each comes from.

    `l1_weight_decay` is the factor of the sum of `|theta|` over all parameters; with it `weight_decay` (L2) is 0.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    l1_weight_decay: float = 0.0
    weight_decay: float = 0.0
    source: str = ""


def preset_dataset(dataset: str) -> str:
    """The dataset whose settings count, for a dataset's name (`cifar10n` takes those of `cifar10`).

    Raises:
        TypeError: not a name.
        ValueError: no presets for it; names the nearest ones.
    """
    if not isinstance(dataset, str):
        raise TypeError(f"a preset is named by a dataset, such as 'cifar10', but {dataset!r} was given.")
    key = dataset.strip().lower().replace("cifar-", "cifar").replace("_", "-")
    key = SAME_SETTINGS_AS.get(key, key)
    if key not in DATASET_DECAY:
        known = [*DATASET_DECAY, *SAME_SETTINGS_AS]
        raise ValueError(
            f"there is no preset for the dataset {dataset!r}.{did_you_mean(dataset, [*known, 'auto'])} "
            f"Known: {', '.join(known)}, and auto."
        )
    return key


def loss_preset(loss_name: str, dataset: str) -> LossPreset:
    """The parameters and decay a paper used for this loss on this dataset.

    A loss without settings of its own on the dataset gets its default parameters and the dataset's L2 decay; one that
    is put together of others (`joint`, `normalized`) brings its parameters, and gets the decay alone.

    Raises:
        ValueError: unknown loss or dataset, or a loss that is reported only.
    """
    key = preset_dataset(dataset)
    decay, decay_source = DATASET_DECAY[key]
    if composition(loss_name) is not None:
        return LossPreset(
            weight_decay=decay, source=f"parameters of its own; L2 {decay:g} from {decay_source}"
        )
    info = loss_info(loss_name)
    if info.reported_only:
        raise ValueError(f"{info.name} is reported, not implemented: {info.reason}")
    entry = PRESETS.get(info.name, {}).get(key)
    if entry is None:
        return LossPreset(
            params=default_parameters(info.name),
            weight_decay=decay,
            source=f"no settings of its own on {key}: default parameters; L2 {decay:g} from {decay_source}",
        )
    l1 = entry.l1 or 0.0
    l2 = entry.l2 if entry.l2 is not None else (0.0 if entry.l1 is not None else decay)
    source = entry.source
    if entry.l1 is None and entry.l2 is None:
        source = f"{source}; L2 {decay:g} from {decay_source}"
    return LossPreset(
        params={**default_parameters(info.name), **entry.params},
        l1_weight_decay=l1,
        weight_decay=l2,
        source=source,
    )


def default_parameters(name: str) -> LossConfig:
    """The parameters `create_loss(name)` sets: the CIFAR-10 preset's where there is one."""
    info = loss_info(name)
    entry = PRESETS.get(info.name, {}).get("cifar10")
    return {**info.default_parameters, **(entry.params if entry else {})}
