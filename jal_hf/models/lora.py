"""Low-rank adapters (Hu et al., 2022, arXiv 2106.09685) on any network, through peft."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from jal_hf.models.head import head_modules, head_parameter_names

_Module = TypeVar("_Module", bound=nn.Module)


def add_lora(
    model: _Module,
    *,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
) -> _Module:
    """Freeze the network and put an adapter beside each of its layers, in place; the classifier trains as a whole.

    The model keeps its class, so it is trained as any other. `export_model` writes it with the adapters merged into
    the weights; a checkpoint's `save_pretrained` keeps them apart, so that training can go on.

    Args:
        rank: of each update, at least 1.
        alpha: the update is scaled by alpha / rank.
        dropout: before each adapter.
        targets: the layers' names or their last words, such as `["qkv"]`; None takes every linear layer and every
            convolution without groups, the classifier aside.

    Raises:
        ImportError: when peft is not installed.
        ValueError: when a target does not exist, or the model has adapters already.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("LoRA needs peft: pip install 'jal_hf[lora]'") from error
    if has_lora(model):
        raise ValueError("The model has adapters already; merge_lora(model) first.")
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be at least 1.")
    heads = tuple(f"{name}." for name in head_modules(model))
    head = head_parameter_names(model)
    names = [
        name
        for name, layer in model.named_modules()
        if not f"{name}.".startswith(heads)
        and (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1))
    ]
    if targets is not None:
        chosen = [name for name in names if any(f".{name}".endswith(f".{target}") for target in targets)]
        if not chosen:
            raise ValueError(
                f"No layer is called {', '.join(targets)}; there are {', '.join(names[:5])}, ..."
            )
        names = chosen
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names)
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if name in head:
            parameter.requires_grad_(True)
    return model


def has_lora(model: nn.Module) -> bool:
    """Whether any layer carries an adapter."""
    return any(hasattr(module, "lora_A") and hasattr(module, "base_layer") for module in model.modules())


def is_peft_model(model: object) -> bool:
    """Whether a model is one of peft's own, as `get_peft_model` makes them."""
    peft = sys.modules.get("peft")  # whoever made one has loaded it
    return peft is not None and isinstance(model, peft.PeftModel)


def merged_copy(model: Any, state_dict: Mapping[str, Tensor] | None = None) -> nn.Module | None:
    """The network inside one of peft's models with the adapters in its weights; None where they cannot be merged.

    Args:
        state_dict: weights to take in place of the model's, by its names.
    """
    if not hasattr(model, "merge_and_unload"):
        return None
    model = copy.deepcopy(model)
    if state_dict:
        model.load_state_dict(state_dict)
    merged: nn.Module = model.merge_and_unload()
    return merged


def merge_lora(model: _Module) -> _Module:
    """Add the adapters to the weights and take them away, in place; every parameter trains again."""
    adapted = [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]
    for name, module in adapted:
        layer: Any = module
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())
    model.__dict__.pop("peft_config", None)
    return model.requires_grad_(True) if adapted else model
