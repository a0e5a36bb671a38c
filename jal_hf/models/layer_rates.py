"""Parameters grouped for an optimizer: what decays, and how fast each layer learns."""

from __future__ import annotations

from typing import Any

from torch import nn

from jal_hf.ground.files import JsonObject
from jal_hf.models.head import head_parameter_names, without_wrapper


def parameter_groups(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    head_learning_rate: float | None = None,
) -> list[JsonObject]:
    """Groups for any optimizer of torch, every parameter that requires a gradient in exactly one.

    Norms, biases and what the network itself excepts (position embeddings) do not decay. A layer that lies d layers
    below the classifier learns at `learning_rate * layer_decay ** d` (ELECTRA, Clark et al., 2020; BEiT, Bao et al.,
    2022). Schedules keep the ratios.

    Args:
        layer_decay: in (0, 1]; 1 gives all layers one rate. 0.65 to 0.8 is usual for pretrained transformers.
        head_learning_rate: of the classifier; None means `learning_rate`.

    Returns:
        `params`, `lr`, `weight_decay`, and the parameters' names under `param_names`.

    Raises:
        ValueError: when a rate is not positive, the decay is negative, or `layer_decay` lies outside (0, 1].
    """
    rate = learning_rate if head_learning_rate is None else head_learning_rate
    if learning_rate <= 0 or rate <= 0:
        raise ValueError(f"The learning rates are {learning_rate} and {rate}; both must be positive.")
    if weight_decay < 0 or not 0 < layer_decay <= 1:
        raise ValueError(
            f"weight_decay is {weight_decay} and layer_decay {layer_decay}; the one must be at least 0, the other "
            "lie in (0, 1]."
        )
    numbers, excepted = layer_numbers(model), _without_decay(model)
    top, head = max(numbers.values()), head_parameter_names(model)
    groups: dict[tuple[float, float], JsonObject] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = rate if name in head else learning_rate * layer_decay ** (top - numbers[name])
        decay = 0.0 if parameter.ndim <= 1 or name.endswith(".bias") or name in excepted else weight_decay
        group = groups.setdefault(
            (lr, decay), {"params": [], "lr": lr, "weight_decay": decay, "param_names": []}
        )
        group["params"].append(parameter)
        group["param_names"].append(name)
    return list(groups.values())


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """Each parameter's layer by its name, from 0 at the input to the classifier's, which is the highest.

    timm's networks say it themselves. Elsewhere a layer is what a list numbers (`encoder.layer.3`), in the order in
    which the layers stand in the model.
    """
    network, prefix = _network(model)
    if callable(getattr(network, "group_matcher", None)):
        from timm.models import group_parameters

        found = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
        numbers = {name: 0 for name, _ in model.named_parameters()}
        numbers |= {f"{prefix}{name}": int(number) for name, number in found.items()}
    else:
        seen: dict[str, int] = {}
        numbers, current = {}, 0
        for name, _ in model.named_parameters():
            words = name.split(".")
            numbered = next((place for place, word in enumerate(words) if word.isdigit()), None)
            if numbered is not None:
                current = seen.setdefault(".".join(words[: numbered + 1]), len(seen) + 1)
            numbers[name] = current
    head = head_parameter_names(model)
    top = max((number for name, number in numbers.items() if name not in head), default=0)
    return {name: top + 1 if name in head else number for name, number in numbers.items()}


def _without_decay(model: nn.Module) -> set[str]:
    network, prefix = _network(model)
    excepted = network.no_weight_decay() if callable(getattr(network, "no_weight_decay", None)) else ()
    return {f"{prefix}{name}" for name in excepted}


def _network(model: nn.Module) -> tuple[Any, str]:
    """The network inside its wrappers, timm's own where there is one, and what its parameters' names begin with."""
    inner = without_wrapper(model)
    network = getattr(inner, "timm_model", inner)
    name = next(name for name, module in model.named_modules() if module is network)
    return network, f"{name}." if name else ""
