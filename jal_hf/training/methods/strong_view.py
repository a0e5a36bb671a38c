"""A strongly changed view of a batch of images, on the device, each row by its own keyed draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

OPERATIONS = 2
"""Operations on each image, one after the other."""
DRAWS = 2 * OPERATIONS + 2

FloatArray = npt.NDArray[np.float64]


def strong_view(
    pixels: Tensor,
    draws: FloatArray,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    cut: float = 0.5,
) -> Tensor:
    """Two random operations on each image, as RandAugment draws them, then a square of it set to the mean colour.

    Movements of an image are put together and read once; where mean and std are not known, nothing but them is drawn.

    Args:
        pixels: Normalised, (N, C, H, W); augmented already or not.
        draws: Uniform numbers in [0, 1), (N, `DRAWS`): kind and strength of each operation, then the square's centre.
        mean: Per channel, of pixels in [0, 1], or None.
        std: Per channel.
        cut: Side of the square as a share of the image's; parts beyond the border are lost.

    Reference:
        Cubuk et al. (2020), "RandAugment"; DeVries and Taylor (2017), "Improved Regularization with Cutout". The
        strengths are drawn anew for each image, up to rotation 30 degrees, shear 0.3, shift 0.3 of the side, and
        factors 0.1 to 1.9.
    """
    names = [*MOVEMENTS, *COLOURS] if mean is not None else list(MOVEMENTS)
    chosen = (draws[:, :OPERATIONS] * len(names)).astype(np.int64)
    strength = 2 * draws[:, OPERATIONS : 2 * OPERATIONS] - 1
    changed = _moved(pixels, names, chosen, strength)
    if mean is not None and std is not None:
        scale, offset = (pixels.new_tensor(list(item)).view(1, -1, 1, 1) for item in (std, mean))
        changed = (changed * scale + offset).clamp(0, 1)
        for number in range(OPERATIONS):
            for kind, operation in COLOURS.items():
                rows = np.flatnonzero(chosen[:, number] == names.index(kind))
                if len(rows):
                    at = torch.from_numpy(rows).to(pixels.device)
                    how = _column(strength[rows, number], pixels)
                    changed = changed.index_copy(0, at, operation(changed[at], how).clamp(0, 1))
        changed = (changed - offset) / scale
    return _with_hole(changed, draws[:, 2 * OPERATIONS :], cut)


def _column(values: FloatArray, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device, like.dtype).view(-1, 1, 1, 1)


def _moved(pixels: Tensor, names: list[str], chosen: Any, strength: FloatArray) -> Tensor:
    """The images under the product of their movements; what comes from outside is the mean colour."""
    total = np.tile(np.eye(3), (len(pixels), 1, 1))
    for number in range(OPERATIONS):
        for kind, movement in MOVEMENTS.items():
            rows = np.flatnonzero(chosen[:, number] == names.index(kind))
            if len(rows):
                total[rows] = total[rows] @ movement(strength[rows, number])
    rows = np.flatnonzero((total != np.eye(3)).any(axis=(1, 2)))
    if not len(rows):
        return pixels.clone()
    at = torch.from_numpy(rows).to(pixels.device)
    chosen_pixels = pixels[at]
    matrices = torch.from_numpy(total[rows, :2]).to(pixels.device, pixels.dtype)
    grid = functional.affine_grid(matrices, list(chosen_pixels.shape), align_corners=False)
    return pixels.index_copy(0, at, functional.grid_sample(chosen_pixels, grid, align_corners=False))


def _matrices(**entries: FloatArray) -> FloatArray:
    """(n, 3, 3) identities with some entries, named by row and column: `a01`."""
    count = len(next(iter(entries.values())))
    matrices = np.tile(np.eye(3), (count, 1, 1))
    for name, values in entries.items():
        matrices[:, int(name[1]), int(name[2])] = values
    return matrices


def _rotation(strength: FloatArray) -> FloatArray:
    angle = strength * math.radians(30)
    return _matrices(a00=np.cos(angle), a01=-np.sin(angle), a10=np.sin(angle), a11=np.cos(angle))


MOVEMENTS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": lambda strength: _matrices(a00=np.ones_like(strength)),
    "rotate": _rotation,
    "shear x": lambda strength: _matrices(a01=0.3 * strength),
    "shear y": lambda strength: _matrices(a10=0.3 * strength),
    "shift x": lambda strength: _matrices(a02=0.6 * strength),  # of half a side
    "shift y": lambda strength: _matrices(a12=0.6 * strength),
}


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] != 3:
        return pixels.mean(dim=1, keepdim=True)
    return (pixels * pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _blended(pixels: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    return other + (1 + 0.9 * strength) * (pixels - other)


def _sharpness(pixels: Tensor, strength: Tensor) -> Tensor:
    kernel = pixels.new_tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    around = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    smooth = functional.conv2d(around, kernel.expand(pixels.shape[1], 1, 3, 3), groups=pixels.shape[1])
    return _blended(pixels, smooth, strength)


def _posterize(pixels: Tensor, strength: Tensor) -> Tensor:
    levels = 2 ** (4 + 2 * (1 + strength)).floor()  # 4 to 8 bits
    return (pixels * 255 / (256 / levels)).floor() * (256 / levels) / 255


def _auto_contrast(pixels: Tensor, strength: Tensor) -> Tensor:
    least, most = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    span = most - least
    return torch.where(span > 0, (pixels - least) / span.clamp_min(1e-6), pixels)


def _equalize(pixels: Tensor, strength: Tensor) -> Tensor:
    """Each channel's values by their rank among 256 levels."""
    levels = (pixels * 255).round().long().flatten(2)
    counts = torch.zeros(*levels.shape[:2], 256, device=pixels.device, dtype=pixels.dtype)
    counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=pixels.dtype))
    below = counts.cumsum(dim=2) / levels.shape[2]
    first = below.gather(2, levels.amin(dim=2, keepdim=True))
    ranks = (below.gather(2, levels) - first) / (1 - first).clamp_min(1e-6)
    return torch.where(first < 1, ranks, pixels.flatten(2)).view_as(pixels)


COLOURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda pixels, strength: pixels * (1 + 0.9 * strength),
    "contrast": lambda pixels, strength: _blended(
        pixels, _grey(pixels).mean(dim=(1, 2, 3), keepdim=True), strength
    ),
    "saturation": lambda pixels, strength: _blended(pixels, _grey(pixels), strength),
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": lambda pixels, strength: torch.where(pixels >= (1 + strength) / 2, 1 - pixels, pixels),
    "auto contrast": _auto_contrast,
    "equalize": _equalize,
}


def _with_hole(pixels: Tensor, centre: FloatArray, cut: float) -> Tensor:
    hole = None
    for axis, size in enumerate(pixels.shape[2:]):
        half = round(cut * size) / 2
        middle = torch.from_numpy(centre[:, axis] * size).to(pixels.device)[:, None]
        places = torch.arange(size, device=pixels.device) + 0.5
        inside = (places - middle).abs() < half
        shape = (-1, 1, size, 1) if axis == 0 else (-1, 1, 1, size)
        hole = inside.view(shape) if hole is None else hole & inside.view(shape)
    # 0 is the mean colour of normalised pixels.
    return pixels if hole is None else pixels.masked_fill(hole, 0.0)
