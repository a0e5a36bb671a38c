"""Checkpoints of transformers' own networks (ResNet, ViT and the like)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed  # type: ignore[attr-defined]
from torch import Tensor

from jal_hf.ground.files import JsonObject, write_text
from jal_hf.models.head import head_parameter_names
from jal_hf.models.labels import resolve_class_names
from jal_hf.models.preprocessing import resolve_preprocessing
from jal_hf.models.pretrained import WeightsReport, WeightsSource
from jal_hf.models.sources import Checkpoint
from jal_hf.models.weights_file import write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DEFAULTS = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}
# PIL's numbers, which preprocessor_config.json holds
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def load_transformers_model(
    checkpoint: Checkpoint,
    num_labels: int,
    class_names: Sequence[str] | None,
    preprocessing: Mapping[str, Any],
    in_chans: int | None,
    **kwargs: Any,
) -> PreTrainedModel:
    """Load an image classifier of transformers, or an encoder; a classifier of another size is replaced by a fresh one.

    Args:
        preprocessing: `image_size, mean, std, interpolation, crop_pct`; None keeps those of its
            `preprocessor_config.json`.

    Raises:
        ValueError: when its channels differ from `in_chans`, the config is of no image classifier, or the folder's
            weights are those of another network.
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
    if preprocessing["image_size"] is not None and hasattr(config, "image_size"):
        kwargs["image_size"] = preprocessing["image_size"]
    model: PreTrainedModel
    model, outcome = AutoModelForImageClassification.from_pretrained(
        checkpoint.folder,
        num_labels=num_labels,
        id2label=dict(enumerate(names)),
        label2id={name: label for label, name in enumerate(names)},
        ignore_mismatched_sizes=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **kwargs,
    )
    model.weights_source = _source(model, outcome, checkpoint)
    own = {**_DEFAULTS, **_own_preprocessing(checkpoint.folder)}
    side: Any = own.get("side") or getattr(config, "image_size", None) or 224
    own["input_size"] = (channels, side, side) if isinstance(side, int) else (channels, *side)
    # under timm's name, so that a run reads every model's preprocessing alike
    model.config.pretrained_cfg = resolve_preprocessing(own, in_chans=channels, **preprocessing).to_dict()
    return model


def _source(model: PreTrainedModel, outcome: Mapping[str, Any], checkpoint: Checkpoint) -> WeightsSource:
    """What transformers says of the loading, as our report; a network that stayed fresh is refused."""
    head = head_parameter_names(model)
    missing = {str(name) for name in outcome["missing_keys"]}
    reshaped = {str(entry[0] if isinstance(entry, tuple) else entry) for entry in outcome["mismatched_keys"]}
    reshaped -= {name for name in reshaped if _resize_positions(model, name, checkpoint.folder)}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if name not in head}
    fitted = tuple(name for name in model.state_dict() if name not in missing | reshaped)
    report = WeightsReport(
        matched_by="names",
        fitted=fitted,
        fresh_head=tuple(sorted(head & (missing | reshaped))),
        missing=tuple(sorted(missing - head)),
        other_shape=tuple(sorted(reshaped - head)),
        unused=tuple(sorted(str(name) for name in outcome["unexpected_keys"])),
        share=sum(size for name, size in sizes.items() if name in fitted) / max(1, sum(sizes.values())),
    )
    report.require(checkpoint.name, type(model).__name__)
    return WeightsSource(checkpoint.kind, checkpoint.name, bool(report.fresh_head), report)


def _resize_positions(model: PreTrainedModel, name: str, folder: Path) -> bool:
    """Fit the saved position embeddings (1, tokens, d) to another image size, where `name` is such a weight."""
    target = model.get_parameter(name) if name.endswith(".position_embeddings") else None
    files = [load_file(file) for file in folder.glob("model*.safetensors")] if target is not None else []
    saved = [value for file in files for key, value in file.items() if f".{name}".endswith(f".{key}")]
    if target is None or target.ndim != 3 or not saved:
        return False
    side = math.isqrt(target.shape[1])
    extra = target.shape[1] - side * side
    with torch.no_grad():
        target.copy_(resample_abs_pos_embed(saved[0], [side, side], num_prefix_tokens=extra))
    return True


def _own_preprocessing(folder: Path) -> JsonObject:
    """mean, std, interpolation and side of the folder's preprocessor_config.json, as far as it says them."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return {}
    saved = json.loads(file.read_text(encoding="utf-8"))
    found: JsonObject = {"interpolation": _RESAMPLE.get(saved.get("resample"))}
    if saved.get("do_normalize", True):
        found |= {"mean": saved.get("image_mean"), "std": saved.get("image_std")}
    else:
        found |= {"mean": (0.0,), "std": (1.0,)}
    size = saved.get("crop_size") if saved.get("do_center_crop") else None
    size = size or saved.get("size")
    found["side"] = size if isinstance(size, int) else next(iter((size or {}).values()), None)
    return {key: value for key, value in found.items() if value is not None}


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
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    height, width = values["input_size"][1:]
    content = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": math.floor(min(height, width) / float(values.get("crop_pct") or 1.0))},
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "resample": next(
            number for number, name in _RESAMPLE.items() if name == values.get("interpolation", "bilinear")
        ),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(values["mean"]),
        "image_std": list(values["std"]),
    }
    write_text(folder / "preprocessor_config.json", json.dumps(content, indent=2) + "\n")
