"""`create_model`: any timm network, or a checkpoint, as a transformers image classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jal_hf.ground.files import JsonObject
from jal_hf.models.labels import resolve_class_names
from jal_hf.models.preprocessing import Statistic, resolve_preprocessing
from jal_hf.models.pretrained import WeightsSource, load_weights, weights_file
from jal_hf.models.probe import check_image_size
from jal_hf.models.sources import Checkpoint, is_checkpoint_name, is_on_hub, locate_checkpoint
from jal_hf.models.timm_networks import (
    build_timm_network,
    check_timm_name,
    default_preprocessing,
    is_own_network,
)
from jal_hf.models.wrapper import wrap_timm

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def create_model(
    name: str,
    *,
    num_labels: int,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    in_chans: int | None = None,
    mean: Statistic | None = None,
    std: Statistic | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    pretrained: bool = False,
    weights: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> PreTrainedModel:
    """Build an image classifier for transformers, with the run's preprocessing inside its config.

    Args:
        name: a timm name (`resnet18`, `jal_cnn8`), `hf-hub:OWNER/REPO[@REVISION]`, `local-dir:FOLDER`, the
            path of a folder, or `transformers:FOLDER_OR_REPO` for a transformers ResNet, ViT and the like, an encoder
            without classifier included.
        num_labels: K. A checkpoint's classifier of another size is replaced by a fresh one.
        class_names: K names, for `id2label`; else those of the checkpoint, else LABEL_0 onwards.
        image_size: side of the square input in pixels; None keeps the network's own.
        in_chans: 1 or 3 channels; None keeps the network's own. Give a network other than the papers' 3, also for
            grey images: `pipeline` opens every image as RGB.
        mean: of pixels in [0, 1], a number or one a channel; None keeps the network's own.
        std: likewise.
        interpolation: of the resize before evaluation, such as `bilinear`.
        crop_pct: share of the resized image that the centre crop keeps; None means 1 below 96 pixels.
        pretrained: load timm's published weights, from the cache or the Hub.
        weights: a .safetensors, .pth, .pt or .bin file to start from, for a name of timm; `load_weights` says how
            it is matched.
        **kwargs: further arguments of timm's network, such as `drop_rate`.

    Returns:
        A `TimmWrapperForImageClassification`, or the model of transformers that the checkpoint holds. What its weights
        came from, and what fitted, is in `weights_source(model)`.

    Raises:
        ValueError: for an unknown name, an impossible size, names that do not fit `num_labels`, or weights that
            do not fit the network.
        FileNotFoundError: when a checkpoint or pretrained weights are not to be had.
    """
    given: JsonObject = {
        "image_size": image_size, "mean": mean, "std": std, "interpolation": interpolation, "crop_pct": crop_pct
    }  # fmt: skip
    check_start(name, pretrained=pretrained, weights=weights)
    if is_checkpoint_name(name):
        checkpoint = locate_checkpoint(name)
        if not checkpoint.is_timm:
            from jal_hf.models.transformers_models import load_transformers_model

            return load_transformers_model(checkpoint, num_labels, class_names, given, in_chans, **kwargs)
    else:
        checkpoint = None
    names = resolve_class_names(num_labels, class_names or _names_of(checkpoint, num_labels))
    defaults = checkpoint.pretrained_cfg if checkpoint else default_preprocessing(name)
    saved_args = checkpoint.model_args if checkpoint else {}
    channels = in_chans or saved_args.get("in_chans") or next(iter(defaults["input_size"]))
    preprocessing = resolve_preprocessing(defaults, in_chans=channels, **given)
    model_args = {**saved_args, **kwargs, "in_chans": channels}
    if defaults.get("fixed_input_size"):
        model_args["img_size"] = list(preprocessing.input_size[1:])
    network: Any = build_timm_network(
        checkpoint.timm_name if checkpoint else name, bool(checkpoint) or pretrained, num_labels, model_args
    )
    report = None if weights is None else load_weights(network, weights)
    network.pretrained_cfg = {**network.pretrained_cfg, **preprocessing.to_dict()}
    check_image_size(network, preprocessing.input_size, name)
    model = wrap_timm(network, class_names=names, model_args=model_args)
    if checkpoint:
        source = WeightsSource(checkpoint.kind, checkpoint.name, checkpoint.num_classes != num_labels)
    elif weights is not None:
        source = WeightsSource("file", Path(weights).name, bool(report and report.fresh_head), report)
    else:
        own_classes = default_preprocessing(name).get("num_classes") == num_labels
        source = WeightsSource("timm" if pretrained else "fresh", name, not (pretrained and own_classes))
    model.weights_source = source
    return model


def check_start(
    name: str, *, pretrained: bool = False, weights: str | os.PathLike[str] | None = None
) -> None:
    """Look whether there is what `create_model` starts from by these arguments, without building or fetching anything.

    Raises:
        ValueError, FileNotFoundError: as `create_model`, but for repositories of the Hub.
    """
    if weights is not None and (pretrained or is_checkpoint_name(name)):
        other = "pretrained" if pretrained else repr(name)
        raise ValueError(f"weights and {other} both say what to start from; leave one of the two out.")
    if weights is not None:
        weights_file(weights)
    if not is_checkpoint_name(name):
        check_timm_name(name, pretrained)
    elif not is_on_hub(name):
        locate_checkpoint(name)


def default_in_chans(name: str, image_channels: int | None) -> int | None:
    """Input channels a network should be built with for images of `image_channels`; None keeps its own.

    The papers' networks take grey images as they are and turn an RGB copy back into grey, so their
    checkpoints work in `pipeline`, which opens every image as RGB. Any other network gets 3 channels, a grey
    image repeated three times. A checkpoint keeps the channels it was trained with.
    """
    if image_channels is None or is_checkpoint_name(name):
        return None
    return 1 if image_channels == 1 and is_own_network(name) else 3


def _names_of(checkpoint: Checkpoint | None, num_labels: int) -> Sequence[str] | None:
    names = checkpoint.class_names if checkpoint else None
    return names if names is not None and len(names) == num_labels else None
