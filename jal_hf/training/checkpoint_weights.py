"""A checkpoint's weights under the names of the model that takes them up, all of them or none."""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from jal_hf.ground.sentences import shortened
from jal_hf.training.failures import RunError


def converted_weights(model: nn.Module, checkpoint: Path) -> dict[str, Tensor] | None:
    """The weights of a checkpoint under the model's own names, or None where they have those names already.

    transformers saves some networks (ViT, Swin and others) under the names of their first release.
    """
    # Networks of timm, whose load_state_dict is their own, translate the names by themselves.
    if not isinstance(model, PreTrainedModel) or type(model).load_state_dict is not nn.Module.load_state_dict:
        return None
    saved: set[str] = set()
    for path in checkpoint.glob("model*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            saved.update(weights.keys())
    if saved <= model.state_dict().keys():
        return None
    # The config may say another dtype than the weights are trained in.
    widest = reduce(torch.promote_types, {value.dtype for value in model.parameters()})
    loaded, outcome = type(model).from_pretrained(
        checkpoint, config=model.config, dtype=widest, use_safetensors=True, output_loading_info=True
    )
    check_loaded(model, outcome["missing_keys"], outcome["unexpected_keys"])
    state: dict[str, Tensor] = loaded.state_dict()
    return state


def check_loaded(model: nn.Module, missing: Collection[str], unexpected: Collection[str]) -> None:
    """Nothing, where a checkpoint held all of a model's weights and no others; tied ones are saved under one name.

    Raises:
        RunError: The checkpoint is that of another network.
    """
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {value.data_ptr() for name, value in state.items() if name not in missing}
    unsaved = getattr(model, "_keys_to_ignore_on_save", None) or ()
    lost = [
        name
        for name in missing
        if name not in unsaved and name in state and state[name].data_ptr() not in found
    ]
    if not lost and not unexpected:
        return
    some = ", ".join(sorted([*lost, *unexpected])[:3])
    raise RunError(
        f"The checkpoint's weights are those of another network: it lacks {len(lost)} of {len(state)}, and "
        f"{len(unexpected)} of its own have no place ({shortened(some, 200)}). Go on with the network that it was "
        "written by."
    )
