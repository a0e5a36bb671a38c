"""The classifier at the end of a network, whichever library built it."""

from __future__ import annotations

import sys
from typing import Any

from torch import nn

_LAST_LAYERS = (nn.Linear, nn.Conv2d, nn.Conv1d)


def head_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that turn features into logits, by their names in `model`.

    timm says them itself; of a transformers model it is all that lies beside its base model; of a plain module it is
    the last linear layer. Of one of peft's models they are those of the network inside.

    Raises:
        ValueError: when there is none.
    """
    inner = without_wrapper(model)
    network: Any = getattr(inner, "timm_model", inner)
    base = getattr(inner, "base_model", inner)
    found: list[nn.Module] = []
    if callable(getattr(network, "get_classifier", None)):
        classifier = network.get_classifier()
        found = list(classifier) if isinstance(classifier, (tuple, list, nn.ModuleList)) else [classifier]
    elif isinstance(base, nn.Module) and base is not inner and network is inner:
        found = [child for child in inner.children() if child is not base]
    else:
        found = _linear_layers(inner)[-1:]
    found = [module for module in found if next(module.parameters(), None) is not None]
    if not found:
        raise ValueError(f"{type(network).__name__} has no classifier; build it with num_labels classes.")
    return {name: module for name, module in model.named_modules() if any(module is one for one in found)}


def without_wrapper(model: nn.Module) -> nn.Module:
    """The network inside one of peft's models, with the adapters in its layers; any other model itself."""
    peft = sys.modules.get("peft")  # whoever made one has loaded it
    wrapped: Any = model
    if peft is None or not isinstance(model, peft.PeftModel | peft.PeftMixedModel):
        return model
    has_method = callable(getattr(type(model), "get_base_model", None))
    inner: nn.Module = wrapped.get_base_model() if has_method else wrapped.base_model.model
    return inner


def _linear_layers(module: nn.Module) -> list[nn.Module]:
    """Linear layers in their order, one with an adapter beside it as a whole."""
    if isinstance(module, nn.Linear) or isinstance(getattr(module, "base_layer", None), nn.Linear):
        return [module]
    return [layer for child in module.children() for layer in _linear_layers(child)]


def head_parameter_names(model: nn.Module) -> frozenset[str]:
    """Names of the classifier's parameters in `model`."""
    return frozenset(
        f"{name}.{parameter}".removeprefix(".")
        for name, module in head_modules(model).items()
        for parameter, _ in module.named_parameters()
    )


def last_layers(model: nn.Module) -> list[nn.Module]:
    """The last layer of each classifier, the one that gives logits.

    A distilled network has two classifiers, as two modules or side by side in one: layers of the last one's shape,
    unless it is square, so that one could feed the other.
    """
    layers: list[nn.Module] = []
    for module in head_modules(model).values():
        inside = [layer for layer in module.modules() if isinstance(layer, _LAST_LAYERS)]
        shapes = [layer.weight.shape for layer in inside]
        is_square = bool(shapes) and shapes[-1][0] == shapes[-1][1]
        layers += [
            layer
            for layer in inside
            if layer is inside[-1] or (layer.weight.shape == shapes[-1] and not is_square)
        ]
    return layers


def start_head(model: nn.Module, start: str | float = "auto") -> float:
    """Set the first weights of a fresh classifier, its biases to zero; returns their standard deviation.

    timm starts the classifier of an EfficientNet or MobileNet with weights of std 0.18, so that the first logits
    have a std of about 5: most samples then look decided, and a robust loss hardly moves them. Zeros give every
    class the same probability, and a full gradient.

    Args:
        model: whose classifier is fresh; `weights_source(model).fresh_head` says so.
        start: `auto` sets zeros where the std of the weights is above 0.05 and else leaves all as it is; `zero`;
            `own` leaves all as it is; or a number, the std of normal weights.

    Raises:
        ValueError: for another word, or a negative number.
    """
    layers: list[Any] = last_layers(model)
    largest = max(float(layer.weight.detach().float().std(correction=0)) for layer in layers)
    if start == "auto":
        start = "zero" if largest > _LARGE else "own"
    if start == "own":
        return largest
    std = 0.0 if start == "zero" else start
    if isinstance(std, str) or std < 0:
        raise ValueError(
            f"start is {start!r}; choose auto, zero, own, or a standard deviation of at least 0."
        )
    for layer in layers:
        nn.init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return std


# timm starts EfficientNet and MobileNet at 1 / sqrt(3 K), 0.058 for 100 classes; ResNet, ViT, ConvNeXt at 0.03 at most.
_LARGE = 0.05
