"""Features of a network, frozen: what its classifier sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jal_hf.models.head import head_modules

# Fields of a batch that are no input of a model.
_NOT_INPUTS = frozenset({"labels", "label", "clean_label", "index", "sample_weight"})


def extract_features(
    model: nn.Module, batches: Iterable[Any], *, device: torch.device | str | None = None
) -> Tensor:
    """The input of the classifier for every example, in evaluation mode, without gradients.

    Of a timm network it is `forward_head(pre_logits=True)`; of any other model what its classifier is given, tokens
    averaged where the classifier pools them itself. The model comes back in the modes that its layers were in.

    Args:
        batches: tensors of inputs, sequences that start with one, or dicts with `pixel_values` or `input_ids`; labels
            in them are not used. Wrap them in a progress bar where there are many.
        device: where to compute; None is where the model lies.

    Returns:
        (N, d) float32 on the CPU, in the order of the batches.

    Raises:
        ValueError: when there are no batches, or the model has no classifier.
    """
    modes = {module: module.training for module in model.modules()}
    place = torch.device(device) if device is not None else next(model.parameters()).device
    network: Any = getattr(model, "timm_model", model)
    compute = _of_timm if hasattr(network, "forward_head") else _of_any
    parts = []
    model.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                inputs = {key: value.to(place) for key, value in _inputs(batch).items()}
                parts.append(compute(model, inputs).float().cpu())
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not parts:
        raise ValueError("There are no batches to extract features from.")
    return torch.cat(parts)


def _inputs(batch: Any) -> dict[str, Tensor]:
    if isinstance(batch, Mapping):
        return {
            key: value for key, value in batch.items() if key not in _NOT_INPUTS and isinstance(value, Tensor)
        }
    return {"": batch[0] if isinstance(batch, Sequence) else batch}


def _of_timm(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    network: Any = getattr(model, "timm_model", model)
    features = network.forward_features(next(iter(inputs.values())))
    return _flat(network.forward_head(features, pre_logits=True), None)


def _of_any(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    seen: list[Tensor] = []
    first = next(iter(head_modules(model).values()))
    handle = first.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    try:
        if first is model:
            seen.append(next(iter(inputs.values())))
        elif len(inputs) == 1:
            model(next(iter(inputs.values())))
        else:
            model(**inputs)
    finally:
        handle.remove()
    return _flat(seen[-1], inputs.get("attention_mask"))


def _flat(features: Tensor, mask: Tensor | None) -> Tensor:
    """(N, d), (N, T, d) or (N, d, H, W) -> (N, d)."""
    if features.ndim == 3:
        weights = torch.ones(features.shape[:2], device=features.device) if mask is None else mask
        return (features * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)
    return features.flatten(2).mean(2) if features.ndim > 3 else features
