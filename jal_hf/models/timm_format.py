"""A wrapped timm network written in timm's own format, which transformers, `pipeline` and timm load bit-equal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from jal_hf.ground.files import JsonObject, write_text
from jal_hf.models.weights_file import write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def write_timm_model(
    model: PreTrainedModel, folder: str | os.PathLike[str], state_dict: Mapping[str, Tensor] | None = None
) -> None:
    """Write `config.json` and `model.safetensors` of a wrapped timm network; `state_dict` replaces its own weights."""
    network: Any = model.timm_model
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_weights(own_names(state_dict or model.state_dict(), network), Path(folder) / WEIGHTS)
    write_text(Path(folder) / CONFIG, json.dumps(timm_config(model), indent=2) + "\n")


def timm_config(model: PreTrainedModel) -> JsonObject:
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


def own_names(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights under the network's own names, less what wrappers put before them."""
    own, result = set(network.state_dict()), {}
    for name, tensor in weights.items():
        for prefix in ("_orig_mod.", "module.", "timm_model."):
            if name not in own:
                name = name.removeprefix(prefix)
        result[name] = tensor
    return result
