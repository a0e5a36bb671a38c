"""Parts of a pretrained network that training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from jal_hf.models.head import head_modules, head_parameter_names
from jal_hf.models.layer_rates import layer_numbers

_Module = TypeVar("_Module", bound=nn.Module)
FREEZES = ("none", "bn", "lower", "backbone")
_LOWER = 2 / 3
_FROZEN = "_frozen_parameters"


def freeze_batch_norm(model: nn.Module) -> int:
    """Keep every batch-norm layer in evaluation mode, also after `model.train()`; returns how many there are.

    Its statistics stay those of the pretraining, its weight and bias go on learning. On small data this is worth more
    than any choice of the loss: features under a batch's own statistics are other features. timm's fused layers are
    among them, a layer without running statistics is not. Weights, names and export are untouched;
    `unfreeze_batch_norm` undoes it exactly.
    """
    layers = [
        layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    ]
    _keep_in_evaluation(layers)
    return len(layers)


def has_frozen_batch_norm(model: nn.Module) -> bool:
    """Whether a batch-norm layer stays in evaluation mode; whoever puts other layers in their place asks this."""
    return any(isinstance(layer, _BatchNorm) and "train" in vars(layer) for layer in model.modules())


def unfreeze_batch_norm(model: nn.Module) -> None:
    """Let batch-norm layers follow `model.train()` again; they take the mode that the model is in."""
    _release(layer for layer in model.modules() if isinstance(layer, _BatchNorm))
    model.train(model.training)


def freeze(model: _Module, what: str) -> _Module:
    """Freeze a part of the network in place; each call replaces the former one.

    Args:
        what: `backbone` trains the classifier alone, the rest in evaluation mode (no dropout, fixed statistics);
            `lower` trains it and the last third of the layers, with all batch-norm statistics fixed, for small data;
            `bn` is `freeze_batch_norm`; `none` undoes all, and leaves parameters alone that something else froze.

    Raises:
        ValueError: for another word, or `backbone` where no classifier is found.
    """
    if what not in FREEZES:
        raise ValueError(f"freeze is {what!r}; choose one of {', '.join(FREEZES)}.")
    parameters = dict(model.named_parameters())
    for name in model.__dict__.pop(_FROZEN, ()):
        parameters[name].requires_grad_(True)
    _release(model.modules())
    if what in ("bn", "lower"):
        freeze_batch_norm(model)
    if what == "lower":
        numbers = layer_numbers(model)
        first = round(_LOWER * max(numbers.values()))
        frozen = [name for name, value in parameters.items() if numbers[name] < first and value.requires_grad]
        for name in frozen:
            parameters[name].requires_grad_(False)
        model.__dict__[_FROZEN] = frozen
    elif what == "backbone":
        head = head_parameter_names(model)
        frozen = [name for name, value in parameters.items() if name not in head and value.requires_grad]
        for name in frozen:
            parameters[name].requires_grad_(False)
        model.__dict__[_FROZEN] = frozen
        heads = list(head_modules(model))
        _keep_in_evaluation(
            module for name, module in model.named_modules() if name and not _touches(name, heads)
        )
    model.train(model.training)
    return model


def _touches(name: str, heads: Iterable[str]) -> bool:
    """Whether a module lies in a classifier or holds one."""
    return any(f"{name}.".startswith(f"{head}.") or f"{head}.".startswith(f"{name}.") for head in heads)


def _keep_in_evaluation(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        # on the instance, so that class, names and weights stay as they were; a partial can be copied and pickled
        module.__dict__["train"] = partial(_stay, module)
        module.training = False


def _release(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.__dict__.pop("train", None)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    module.training = False
    for child in module.children():
        child.train(mode)
    return module
