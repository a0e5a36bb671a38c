"""What happens to a batch of pixels between the cache and the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jal_hf.data.arguments import AUGMENTS
from jal_hf.data.draws import keyed_uniforms
from jal_hf.data.images.colour import colour_jitter
from jal_hf.data.images.geometry import crop_flip_rotate, flip
from jal_hf.data.transfer import to_device
from jal_hf.ground.sentences import did_you_mean

ROTATION_DEGREES = 20.0
JITTER = (0.4, 0.4, 0.4, 0.2)
BATCH_DRAWS = 16
"""Draws 0-15 of an image belong to the batch; the crops made while decoding use later ones."""


def check_augment(name: str) -> str:
    """Give `name` back.

    Raises:
        ValueError: not an augmentation of this package.
    """
    if name in AUGMENTS:
        return name
    hint = did_you_mean(name, AUGMENTS)
    raise ValueError(f"Unknown augmentation {name!r}.{hint} There are: {', '.join(AUGMENTS)}.")


def crop_pad(side: int) -> int:
    """Zero border of the random crop: one eighth of the side, so 4 pixels at 32 as in the papers."""
    return max(1, side // 8)


@dataclass(frozen=True)
class BatchTransform:
    """Augment and normalise a batch; a pure function of (pixels, row numbers, epoch).

    Args:
        augment: one of `AUGMENTS`; only used in training.
        mean: per channel, of pixels in [0, 1].
        std: per channel.
        train: whether images are augmented.
        seed: first key of every draw.
        channels_last: memory layout of the result; the values are the same.
    """

    augment: str
    mean: Sequence[float]
    std: Sequence[float]
    train: bool
    seed: int
    channels_last: bool = False
    _rows: dict[tuple[torch.device, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __call__(self, images: Tensor, index: npt.NDArray[np.int64], epoch: int) -> Tensor:
        """Shape: uint8 (B, H, W, C) and (B,) -> float32 (B, C, H, W), on the device of `images`."""
        return self.transformed(images, to_device(self.draws(index, epoch), images.device))

    def draws(self, index: npt.NDArray[np.int64], epoch: int) -> Tensor:
        """Uniform numbers of some rows in an epoch, (B, D) float64 on the CPU; D is 0 without augmentation."""
        count = BATCH_DRAWS if self.train and self.augment != "none" else 0
        return torch.from_numpy(keyed_uniforms(index, self.seed, epoch, count))

    def transformed(self, images: Tensor, draws: Tensor) -> Tensor:
        """What `__call__` gives, from draws (B, D) that are made already, on the device of `images`."""
        has_jitter = False
        if draws.shape[1]:
            images = self._move(images, draws)
            has_jitter = self.augment == "randomresizedcrop" and images.shape[-1] == 3
            if has_jitter:
                pixels = colour_jitter(images.float().div_(255.0), draws[:, 4:9], JITTER).mul_(255.0)
        return self._normalise(pixels if has_jitter else images)

    def _move(self, images: Tensor, draws: Tensor) -> Tensor:
        if self.augment == "crop-flip":
            return crop_flip_rotate(images, draws, crop_pad(images.shape[1]))
        if self.augment == "crop-flip-rotate":
            return crop_flip_rotate(images, draws, crop_pad(images.shape[1]), ROTATION_DEGREES)
        return flip(images, draws)

    def _normalise(self, images: Tensor) -> Tensor:
        """(x / 255 - mean) / std, on whole rows of pixels because a broadcast over 3 channels is slow."""
        batch, height, width, channels = images.shape
        scale, offset = self._row_constants(images.device, width)
        rows = images.reshape(batch * height, width * channels).to(torch.float32)
        pixels = torch.addcmul(offset, rows, scale) if images.is_cuda else rows.mul_(scale).add_(offset)
        result = pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return result.contiguous(memory_format=layout)

    def _row_constants(self, device: torch.device, width: int) -> tuple[Tensor, Tensor]:
        if (device, width) not in self._rows:
            mean, std = np.asarray(self.mean, dtype=np.float64), np.asarray(self.std, dtype=np.float64)
            scale = torch.from_numpy(np.tile(1.0 / (255.0 * std), width).astype(np.float32)).to(device)
            offset = torch.from_numpy(np.tile(-mean / std, width).astype(np.float32)).to(device)
            self._rows[(device, width)] = (scale, offset)
        return self._rows[(device, width)]
