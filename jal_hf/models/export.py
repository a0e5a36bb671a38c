"""Write a model so that transformers, `pipeline` and timm load it bit-equal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from jal_hf.models.weights_file import write_text, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def export_model(
    model: PreTrainedModel, folder: str | os.PathLike[str], *, state_dict: dict[str, Tensor] | None = None
) -> None:
    """Write `config.json` and `model.safetensors` into `folder`.

    A timm network is written in timm's own format without `num_classes` among its arguments, the one form
    that `AutoModelForImageClassification`, `pipeline`, `timm.create_model("local-dir:...")` and
    `"hf-hub:..."` all load. The run's mean, std and size stand in its `pretrained_cfg`, for a timm model has
    no preprocessor file. Any other model of transformers is written by itself, beside a
    `preprocessor_config.json` where `create_model` knew the values.

    Each file is written under another name and then renamed, so a crash leaves the former file whole.

    Args:
        model: what `create_model` or `AutoModelForImageClassification` returned; the wrappers of
            `torch.compile` and data-parallel training are looked through.
        folder: created when absent.
        state_dict: weights gathered elsewhere (sharded training), names as in `model.state_dict()`.

    Raises:
        TypeError: when `model` is no model of transformers.
    """
    from transformers import PreTrainedModel, TimmWrapperForImageClassification

    model = _unwrap(model)
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"export_model takes a model of transformers, got {type(model).__name__}. Build it with "
            "jal_hf.create_model."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, TimmWrapperForImageClassification):
        weights = {
            _without_wrapper(name): tensor for name, tensor in (state_dict or model.state_dict()).items()
        }
        write_weights(weights, folder / WEIGHTS)
        write_text(json.dumps(timm_config(model), indent=2) + "\n", folder / CONFIG)
        return
    from jal_hf.models.transformers_models import save_transformers_model

    save_transformers_model(model, folder, state_dict)


def timm_config(model: PreTrainedModel) -> dict[str, Any]:
    """The content of config.json for a wrapped timm network.

    Source of the layout: timm's `save_config_for_hf`, less `num_classes` in `model_args`, on which
    transformers fails.
    """
    network: Any = model.timm_model
    config: Any = model.config
    pretrained_cfg = {key: value for key, value in config.pretrained_cfg.items() if value is not None}
    pretrained_cfg.pop("num_classes", None)
    arguments = {key: value for key, value in (config.model_args or {}).items() if key != "num_classes"}
    return {
        "architecture": config.architecture,
        "num_classes": config.num_labels,
        "num_features": getattr(network, "num_features", None),
        "label_names": [config.id2label[label] for label in range(config.num_labels)],
        "model_args": arguments,
        # a source's own crop size or label offset no longer describes these weights
        "pretrained_cfg": {**pretrained_cfg, "num_classes": config.num_labels, "custom_load": False},
    }


def _unwrap(model: Any) -> Any:
    while not hasattr(model, "config") or hasattr(model, "_orig_mod"):
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if inner is None:
            return model
        model = inner
    return model


def _without_wrapper(name: str) -> str:
    for prefix in ("_orig_mod.", "module.", "timm_model."):
        name = name.removeprefix(prefix)
    return name
