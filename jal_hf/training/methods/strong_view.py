"""A strongly changed view of a batch of images, on the device, each row by its own keyed draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

OPERATIONS = 2
"""Operations on each image, one after the other."""
UNIFORMS = 2 * OPERATIONS + 2
"""Uniform numbers an image needs."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Colours:
    """What takes normalised pixels back to [0, 1]: mean and std of the channels, each (1, C, 1, 1)."""

    mean: Tensor
    std: Tensor


def strong_draws(uniforms: FloatArray, *, with_colours: bool) -> FloatArray:
    """What `strong_view` does with each image, from uniform numbers in [0, 1): (N, `UNIFORMS`) to (N, 13).

    Of an image: whether it is moved and the matrix of that (row by row, 6 numbers), kinds of its operations, their
    strengths, and the centre of the square.

    Args:
        uniforms: Kind and strength of each operation, then the square's centre.
        with_colours: Whether colours may be changed, or images moved alone.
    """
    names = [*MOVEMENTS, *COLOURS] if with_colours else list(MOVEMENTS)
    chosen = (uniforms[:, :OPERATIONS] * len(names)).astype(np.int64)
    strength = 2 * uniforms[:, OPERATIONS : 2 * OPERATIONS] - 1
    matrices = np.tile(np.eye(3), (len(uniforms), 1, 1))
    for number in range(OPERATIONS):
        for kind, movement in MOVEMENTS.items():
            rows = np.flatnonzero(chosen[:, number] == names.index(kind))
            if len(rows):
                matrices[rows] = matrices[rows] @ movement(strength[rows, number])
    is_moved = (matrices != np.eye(3)).any(axis=(1, 2))
    columns = (
        is_moved[:, None],
        matrices[:, :2].reshape(-1, 6),
        chosen,
        strength,
        uniforms[:, 2 * OPERATIONS :],
    )
    return np.concatenate(columns, axis=1, dtype=np.float64)


def strong_view(
    pixels: Tensor, draws: Tensor, colours: Colours | None, *, cut: float = 0.5, apart: bool = False
) -> Tensor:
    """Two random operations on each image, as RandAugment draws them, then a square of it set to the mean colour.

    Movements of an image are put together and read once.

    Args:
        pixels: Normalised, (N, C, H, W); augmented already or not.
        draws: Of `strong_draws`, (N, 13), on the device of the pixels.
        colours: How pixels are normalised; None where that is not known, and colours then stay as they are.
        cut: Side of the square as a share of the image's; parts beyond the border are lost.
        apart: Make each operation on the images that drew it alone, which saves time with large ones. Else it is made
            on all and taken where it was drawn: no shape depends on the draws, so that a step can be captured.

    Reference:
        Cubuk et al. (2020), "RandAugment"; DeVries and Taylor (2017), "Improved Regularization with Cutout". The
        strengths are drawn anew for each image, up to rotation 30 degrees, shear 0.3, shift 0.3 of the side, and
        factors 0.1 to 1.9.
    """
    is_moved, matrices, kinds, strengths, centre = torch.split(
        draws, [1, 6, OPERATIONS, OPERATIONS, 2], dim=1
    )
    matrices = matrices.reshape(-1, 2, 3).to(pixels.dtype)
    changed = _where(is_moved[:, 0] > 0, pixels, (matrices,), _moved, apart=apart)
    if colours is not None:
        mean, std = colours.mean.to(pixels.dtype), colours.std.to(pixels.dtype)
        changed = (changed * std + mean).clamp(0, 1)
        for number in range(OPERATIONS):
            strength = strengths[:, number].reshape(-1, 1, 1, 1).to(pixels.dtype)
            for place, operation in enumerate(COLOURS.values(), start=len(MOVEMENTS)):
                chosen = kinds[:, number] == place
                changed = _where(chosen, changed, (strength,), operation, apart=apart).clamp(0, 1)
        changed = (changed - mean) / std
    return _with_hole(changed, centre, cut)


def _where(
    chosen: Tensor, pixels: Tensor, given: tuple[Tensor, ...], change: Callable[..., Tensor], *, apart: bool
) -> Tensor:
    """The images, changed where they are chosen (N,); `given` has what the change needs of each, (N, ...)."""
    if not apart:
        return torch.where(chosen.reshape(-1, 1, 1, 1), change(pixels, *given), pixels)
    rows = chosen.nonzero().flatten()
    return (
        pixels.index_copy(0, rows, change(pixels[rows], *(one[rows] for one in given)))
        if len(rows)
        else pixels
    )


def _moved(pixels: Tensor, matrices: Tensor) -> Tensor:
    """The images under their matrices (N, 2, 3); what comes from outside is the mean colour."""
    grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


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
    return 0.299 * pixels[:, 0:1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:3]


def _blended(pixels: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    return other + (1 + 0.9 * strength) * (pixels - other)


def _sharpness(pixels: Tensor, strength: Tensor) -> Tensor:
    around = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    # The eight neighbours weigh 1 each, the pixel itself 5.
    return _blended(pixels, (9 * around + 4 * pixels) / 13, strength)


def _posterize(pixels: Tensor, strength: Tensor) -> Tensor:
    levels = 2 ** (4 + 2 * (1 + strength)).floor()  # 4 to 8 bits
    return (pixels * 255 / (256 / levels)).floor() * (256 / levels) / 255


def _auto_contrast(pixels: Tensor, strength: Tensor) -> Tensor:
    least, most = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    span = most - least
    return torch.where(span > 0, (pixels - least) / span.clamp_min(1e-6), pixels)


def _equalize(pixels: Tensor, strength: Tensor) -> Tensor:
    """Each channel's values by their rank among 256 levels."""
    levels = (pixels * 255).round().nan_to_num().long().flatten(2)
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


def _with_hole(pixels: Tensor, centre: Tensor, cut: float) -> Tensor:
    hole = None
    for axis, size in enumerate(pixels.shape[2:]):
        half = round(cut * size) / 2
        places = torch.arange(size, device=pixels.device) + 0.5
        inside = (places - centre[:, axis, None] * size).abs() < half
        shape = (-1, 1, size, 1) if axis == 0 else (-1, 1, 1, size)
        hole = inside.view(shape) if hole is None else hole & inside.view(shape)
    # 0 is the mean colour of normalised pixels.
    return pixels if hole is None else pixels.masked_fill(hole, 0.0)
