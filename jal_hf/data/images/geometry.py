"""Crop, flip and rotation of a whole batch in one gather, each image by its own draw."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_flip_rotate(images: Tensor, draws: Tensor, pad: int, degrees: float = 0.0) -> Tensor:
    """Random crop after zero padding, then horizontal flip, then rotation about the centre.

    The same maps as torchvision's `RandomCrop(size, padding=pad)`, `RandomHorizontalFlip()` and
    `RandomRotation(degrees)` (nearest neighbour, zero fill), composed so that every output pixel is read
    once.

    Args:
        images: uint8, shape (B, H, W, C).
        draws: uniform numbers in [0, 1), shape (B, >= 4): row shift, column shift, flip, angle.
        pad: zero border on each side, in pixels, at least 1.
        degrees: rotation is uniform in [-degrees, degrees].

    Shape: (B, H, W, C) uint8.
    """
    batch, height, width, channels = images.shape
    device = images.device
    down = (draws[:, 0] * (2 * pad + 1)).long()
    right = (draws[:, 1] * (2 * pad + 1)).long()
    is_flipped = draws[:, 2] < 0.5
    rows = torch.arange(height, device=device).expand(batch, height)
    columns = torch.arange(width, device=device).expand(batch, width)
    pitch = width + 2 * pad
    if degrees == 0.0:
        columns = torch.where(is_flipped[:, None], width - 1 - columns, columns) + right[:, None]
        pixels = ((rows + down[:, None]) * pitch)[:, :, None] + columns[:, None, :]
    else:
        angle = (2.0 * draws[:, 3] - 1.0) * math.radians(degrees)
        row, column = _rotated_grid(angle, height, width)
        is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        column = torch.where(is_flipped[:, None, None], width - 1 - column, column)
        pixels = (row + down[:, None, None]) * pitch + column + right[:, None, None]
        # Pixel 0 of the padded image lies in its zero border.
        pixels = pixels * is_inside
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))
    offsets = torch.arange(batch, device=device) * (padded.shape[1] * pitch)
    flat = (pixels + offsets[:, None, None]).reshape(-1)
    return padded.view(-1, channels).index_select(0, flat).view(batch, height, width, channels)


def _rotated_grid(angle: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Source row and column of each output pixel, (B, H, W), for a counter-clockwise turn in radians."""
    y = (torch.arange(height, device=angle.device, dtype=torch.float32) - (height - 1) / 2)[None, :, None]
    x = (torch.arange(width, device=angle.device, dtype=torch.float32) - (width - 1) / 2)[None, None, :]
    cosine = torch.cos(angle).float()[:, None, None]
    sine = torch.sin(angle).float()[:, None, None]
    column = torch.round(cosine * x - sine * y + (width - 1) / 2).int()
    row = torch.round(sine * x + cosine * y + (height - 1) / 2).int()
    return row, column


def flip(images: Tensor, draws: Tensor) -> Tensor:
    """Mirror the images whose draw (column 2) is below one half; shapes as `crop_flip_rotate`."""
    is_flipped = (draws[:, 2] < 0.5).view(-1, 1, 1, 1)
    return torch.where(is_flipped, images.flip(2), images)
