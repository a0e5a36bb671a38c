"""Colour jitter of a whole batch, each image with its own factors and its own order of operations."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_ORDERS = tuple(itertools.permutations(range(4)))
_GREY = (0.2989, 0.587, 0.114)


def colour_jitter(images: Tensor, draws: Tensor, strength: tuple[float, float, float, float]) -> Tensor:
    """Brightness, contrast, saturation and hue, in random order, as torchvision's `ColorJitter`.

    Args:
        images: RGB in [0, 1], float, shape (B, H, W, 3).
        draws: uniform numbers in [0, 1), shape (B, 5): one per operation, then the order.
        strength: brightness, contrast and saturation are scaled by U[1 - s, 1 + s]; hue turns by U[-s, s] of
            the circle.

    Shape: (B, H, W, 3) float.
    """
    spread = _constant(strength, images.device, images.dtype)
    shift = (2.0 * draws[:, :4].to(images.dtype) - 1.0) * spread
    orders = _constant(_ORDERS, images.device, torch.int64)[(draws[:, 4] * len(_ORDERS)).long()]
    jitter = _jittered_everywhere if images.is_cuda else _jittered_where_due
    for step in range(4):
        images = jitter(images, shift, orders[:, step])
    return images


@functools.cache
def _constant(values: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers as a tensor, sent to the device once: each sending would have the host wait for a GPU."""
    return torch.tensor(values, device=device, dtype=dtype)


def _jittered_where_due(images: Tensor, shift: Tensor, due: Tensor) -> Tensor:
    """One operation for each image: number `due` (B,)."""
    for number, operation in enumerate(_OPERATIONS):
        chosen = (due == number).nonzero().squeeze(1)
        if len(chosen) > 0:
            images = images.index_copy(0, chosen, operation(images[chosen], shift[chosen, number]))
    return images


def _jittered_everywhere(images: Tensor, shift: Tensor, due: Tensor) -> Tensor:
    """The same without reading on the host which images are due, for which a GPU would be waited for."""
    result = images
    for number, operation in enumerate(_OPERATIONS):
        is_due = (due == number).view(-1, 1, 1, 1)
        result = torch.where(is_due, operation(images, shift[:, number]), result)
    return result


def _grey(images: Tensor) -> Tensor:
    return (images * _constant(_GREY, images.device, images.dtype)).sum(-1, keepdim=True)


def _blend(images: Tensor, other: Tensor, ratio: Tensor) -> Tensor:
    return (ratio * images + (1.0 - ratio) * other).clamp(0.0, 1.0)


def adjust_brightness(images: Tensor, shift: Tensor) -> Tensor:
    """Scale by 1 + shift, shape (B,)."""
    return (images * (1.0 + shift).view(-1, 1, 1, 1)).clamp(0.0, 1.0)


def adjust_contrast(images: Tensor, shift: Tensor) -> Tensor:
    """Move towards or away from the image's mean grey."""
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images, mean, (1.0 + shift).view(-1, 1, 1, 1))


def adjust_saturation(images: Tensor, shift: Tensor) -> Tensor:
    """Move towards or away from the grey image."""
    return _blend(images, _grey(images), (1.0 + shift).view(-1, 1, 1, 1))


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` of the full circle.

    In HSV each channel is v - v s max(0, min(k, 4 - k, 1)) with k = (n + 6 h) mod 6 and n = 5, 3, 1, so no
    case distinction over the six sectors is needed.
    """
    value, _ = images.max(dim=-1)
    least, _ = images.min(dim=-1)
    span = value - least
    safe = torch.where(span > 0, span, torch.ones_like(span))
    red, green, blue = images.unbind(-1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    turned = hue + 6.0 * shift.view(-1, 1, 1)
    starts = _constant((5.0, 3.0, 1.0), images.device, images.dtype)
    position = torch.remainder(turned.unsqueeze(-1) + starts, 6.0)
    weight = torch.minimum(position, 4.0 - position).clamp(0.0, 1.0)
    return value.unsqueeze(-1) - span.unsqueeze(-1) * weight


_OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_hue,
)
