"""Checkpoints of transformers' own networks (ResNet, ViT and the like)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from torch import Tensor

from jal_hf.models.labels import resolve_class_names
from jal_hf.models.preprocessing import Statistic, per_channel
from jal_hf.models.sources import Checkpoint
from jal_hf.models.weights_file import write_text, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_transformers_model(
    checkpoint: Checkpoint,
    num_labels: int,
    class_names: Sequence[str] | None,
    image_size: int | None,
    in_chans: int | None,
    mean: Statistic | None,
    std: Statistic | None,
    **kwargs: Any,
) -> PreTrainedModel:
    """Load an image classifier of transformers; a classifier of another size is replaced by a fresh one.

    Raises:
        ValueError: when its channels differ from `in_chans`, or the config is of no image classifier.
    """
    from transformers import AutoConfig, AutoModelForImageClassification

    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    channels = int(getattr(config, "num_channels", 3))
    if in_chans is not None and in_chans != channels:
        raise ValueError(
            f"{str(checkpoint.folder)!r} takes images of {channels} channels, not {in_chans}. "
            f"Leave in_chans out, so that images are given {channels}."
        )
    saved = (
        [config.id2label[label] for label in range(config.num_labels)]
        if config.num_labels == num_labels
        else None
    )
    names = resolve_class_names(num_labels, class_names or saved)
    if image_size is not None and hasattr(config, "image_size"):
        kwargs["image_size"] = image_size
    model: PreTrainedModel = AutoModelForImageClassification.from_pretrained(
        checkpoint.folder,
        num_labels=num_labels,
        id2label=dict(enumerate(names)),
        label2id={name: label for label, name in enumerate(names)},
        ignore_mismatched_sizes=True,
        use_safetensors=True,
        trust_remote_code=False,
        **kwargs,
    )
    size: Any = image_size or getattr(config, "image_size", None) or 224
    side = size if isinstance(size, int) else next(iter(size))
    # under timm's name, so that a run reads every model's preprocessing alike
    model.config.pretrained_cfg = {
        "input_size": (channels, side, side),
        "mean": per_channel("mean", mean if mean is not None else _IMAGENET_MEAN, channels),
        "std": per_channel("std", std if std is not None else _IMAGENET_STD, channels),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
    }
    return model


def save_transformers_model(
    model: PreTrainedModel, folder: Path, state_dict: dict[str, Tensor] | None
) -> None:
    """`save_pretrained`, and the run's preprocessing as the `preprocessor_config.json` that `pipeline`
    reads.
    """
    model.save_pretrained(folder, state_dict=state_dict)
    if (weights := folder / "model.safetensors").is_file():
        write_weights(load_file(weights), weights)
    values = getattr(model.config, "pretrained_cfg", None)
    if values is None:
        return
    # with it in config.json the folder would pass for one of timm's
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["pretrained_cfg"]
    write_text(json.dumps(config, indent=2) + "\n", folder / "config.json")
    content = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": dict(zip(("height", "width"), values["input_size"][1:], strict=True)),
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(values["mean"]),
        "image_std": list(values["std"]),
    }
    write_text(json.dumps(content, indent=2) + "\n", folder / "preprocessor_config.json")
