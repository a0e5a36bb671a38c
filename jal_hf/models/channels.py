"""Channels of images and weights: grey networks that also accept RGB, and the channels-last layout."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

# ITU-R 601-2 luma, the transform behind PIL's `convert("L")`
_GREEN, _BLUE = 0.587, 0.114


def match_channels(images: Tensor, in_chans: int) -> Tensor:
    """Turn RGB into grey for a network of one input channel; pass everything else through.

    `pipeline("image-classification")` opens every image as RGB, a grey one included, and normalises the three
    equal channels alike. Written as red plus differences, three equal channels give back the very same bits.

    Args:
        images: normalised images, the same mean and std in every channel.
        in_chans: channels the network was built for.

    Shape: (N, C, H, W) -> (N, in_chans, H, W).
    """
    if in_chans != 1 or images.shape[1] != 3:
        return images
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return red + _GREEN * (green - red) + _BLUE * (blue - red)


def channels_last(images: Tensor) -> Tensor:
    """(N, C, H, W) or (N, C, D, H, W) with the channels innermost in memory; any other rank comes back itself."""
    return images.contiguous(memory_format=_LAST[images.ndim]) if images.ndim in _LAST else images


def with_channels_last(model: _Module) -> _Module:
    """Lay the convolutions' weights out likewise, in place; `Module.to` fails on a network with 3-D ones."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim in _LAST:
            tensor.data = tensor.data.to(memory_format=_LAST[tensor.ndim])
    return model
