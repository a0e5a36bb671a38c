"""Whatever network a person brings, as the model of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import nn
from transformers import PreTrainedModel, TimmWrapperForImageClassification

from jal_hf.ground.files import JsonObject
from jal_hf.models import networks  # noqa: F401 - a network of ours is one of timm's, too
from jal_hf.models.labels import name_classes, resolve_class_names
from jal_hf.models.preprocessing import Preprocessing, resolve_preprocessing
from jal_hf.models.wrapper import RunTimmModel, wrap_timm

_IMAGENET = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def as_run_model(
    model: nn.Module,
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    *,
    model_args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The model that a run trains and exports, holding the very parameters of `model`.

    A network that timm can build again becomes a `RunTimmModel`, whose checkpoints load in transformers, `pipeline`
    and timm; a model of transformers comes back itself, its stock timm wrapper as a `RunTimmModel`; any other
    module, a timm network with a changed layer included, comes back itself.

    Args:
        model: gives logits (N, K, ...), or an output with `logits`.
        class_names: K names; None keeps the model's own. A plain module has no place for them.
        preprocessing: what images go through, or `create_model`'s words for it: `image_size`, `mean`, `std`,
            `interpolation`, `crop_pct`. None keeps the network's own.
        model_args: the keyword arguments that a timm network was created with; None finds `in_chans` and `img_size`.

    Raises:
        ValueError: when names do not fit the classes, or timm does not build this network from `model_args`.
    """
    if hasattr(model, "_orig_mod"):  # compiled: the parts of it must stay where the compiler saw them
        return model
    if isinstance(model, PreTrainedModel):
        if isinstance(model, TimmWrapperForImageClassification) and not isinstance(model, RunTimmModel):
            model = _as_run_timm(model)
        _describe(model.config, class_names, preprocessing)
        return model
    if not _is_timm(model):
        return model
    network: Any = model
    arguments = dict(model_args) if model_args is not None else _arguments_of(network)
    if difference := _difference(network, arguments):
        if model_args is None:
            return model
        raise ValueError(
            f"timm builds another {network.pretrained_cfg['architecture']} from {arguments}: {difference}. "
            "Give the arguments that this network was created with."
        )
    arguments.setdefault("in_chans", _arguments_of(network)["in_chans"])
    size = arguments.get("img_size")
    values = _resolved(
        network.pretrained_cfg, arguments["in_chans"], preprocessing, size if isinstance(size, int) else None
    )
    network.pretrained_cfg = {**network.pretrained_cfg, **values.to_dict()}
    names = resolve_class_names(int(network.num_classes), class_names)
    return wrap_timm(network, class_names=names, model_args=arguments)


def _is_timm(model: Any) -> bool:
    cfg = getattr(model, "pretrained_cfg", None)
    architecture = str(cfg.get("architecture") or "") if isinstance(cfg, dict) else ""
    return timm.is_model(architecture) and int(getattr(model, "num_classes", None) or 0) > 1


def _arguments_of(network: Any) -> JsonObject:
    """What of a network's size stands in its layers; timm keeps no record of its arguments."""
    cfg = network.pretrained_cfg
    first = cfg.get("first_conv")
    first = first if isinstance(first, str) else next(iter(first or ()), None)
    weight = dict(network.named_parameters()).get(f"{first}.weight")
    arguments = {"in_chans": int(weight.shape[1]) if weight is not None else next(iter(cfg["input_size"]))}
    size = getattr(getattr(network, "patch_embed", network), "img_size", None)
    if cfg.get("fixed_input_size") and size is not None:
        arguments["img_size"] = list(size) if not isinstance(size, int) else size
    return arguments


def _difference(network: Any, arguments: Mapping[str, Any]) -> str | None:
    """In what the network that timm builds from `arguments` differs, dropout aside; None when in nothing."""
    try:
        with torch.device("meta"):
            twin = timm.create_model(
                network.pretrained_cfg["architecture"], num_classes=network.num_classes, **arguments
            )
    except (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error)
    theirs, ours = ({k: v.shape for k, v in net.state_dict().items()} for net in (twin, network))
    if wrong := sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name)):
        return f"{len(wrong)} weights have other names or shapes, such as {wrong[0]}"
    if _structure(twin) != _structure(network):
        return "some layers are of another kind"
    return None


def _structure(network: nn.Module) -> list[str]:
    """The printed layers and the kind of pool, less what only training uses."""
    unused = re.compile(r": (Dropout|DropPath|DropBlock2d|Identity)\(.*\)$")
    lines = [line for line in repr(network).splitlines() if not unused.search(line)]
    return [*lines, str(getattr(network, "global_pool", ""))[:12]]


def _as_run_timm(model: TimmWrapperForImageClassification) -> RunTimmModel:
    with torch.device("meta"):
        result = RunTimmModel(model.config)
    result.timm_model = model.timm_model
    result.train(model.training)
    return result


def _describe(
    config: Any, class_names: Sequence[str] | None, preprocessing: Preprocessing | Mapping[str, Any] | None
) -> None:
    if class_names is not None:
        name_classes(config, resolve_class_names(int(config.num_labels), class_names))
    if preprocessing is not None:
        known = getattr(config, "pretrained_cfg", None) or {}
        channels = (known.get("input_size") or [getattr(config, "num_channels", 3)])[0]
        config.pretrained_cfg = {**known, **_resolved(known, channels, preprocessing).to_dict()}


def _resolved(
    own: Mapping[str, Any],
    in_chans: int,
    preprocessing: Preprocessing | Mapping[str, Any] | None,
    image_size: int | None = None,
) -> Preprocessing:
    if isinstance(preprocessing, Preprocessing):
        return preprocessing
    given = {"image_size": image_size, **(preprocessing or {})}
    words = ("image_size", "mean", "std", "interpolation", "crop_pct")
    if unknown := sorted(set(given) - set(words)):
        raise ValueError(f"preprocessing has no {unknown[0]!r}; allowed are {', '.join(words)}.")
    defaults = {**_IMAGENET, **own}
    return resolve_preprocessing(defaults, in_chans=in_chans, **{word: given.get(word) for word in words})
