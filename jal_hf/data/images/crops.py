"""From one decoded image to the square that goes into the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from jal_hf.data.draws import keyed_uniforms
from jal_hf.data.images.augmentation import BATCH_DRAWS
from jal_hf.data.images.decoding import centre_crop, open_image, resize_shorter_side, to_array
from jal_hf.ground.image_files import Encoded

_PHOTOGRAPHS = ("randomresizedcrop", "resize-crop-flip")
_ATTEMPTS = 10
_SCALE = (0.08, 1.0)
_LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))
CROP_DRAWS = 4 * _ATTEMPTS


def evaluation_crop(augment: str) -> float:
    """Share of the scaled image's side that evaluation shows: the papers scale to 256 and cut 224, or show it all."""
    return 0.875 if augment in _PHOTOGRAPHS else 1.0


@dataclass(frozen=True)
class ImageCrop:
    """Decode an image and cut the square that the augmentation asks for.

    Args:
        augment: name of the augmentation.
        side: height and width of the result, pixels.
        channels: 1 or 3.
        train: random crop in training; otherwise the fixed evaluation crop of the same protocol.
        seed: first key of the draws.
    """

    augment: str
    side: int
    channels: int
    train: bool
    seed: int

    def __call__(self, encoded: Encoded | None, row: int, epoch: int) -> npt.NDArray[np.uint8]:
        """Shape: (side, side, C) uint8. Raises `UnreadableImageError` naming `row`."""
        if self.augment not in _PHOTOGRAPHS:
            image = open_image(encoded, self.channels, row, draft=self.side)
            return to_array(centre_crop(resize_shorter_side(image, self.side), self.side))
        scaled = math.floor(self.side / evaluation_crop(self.augment))
        if not self.train:
            image = open_image(encoded, self.channels, row, draft=scaled)
            return to_array(centre_crop(resize_shorter_side(image, scaled), self.side))
        draws = keyed_uniforms(np.array([row]), self.seed, epoch, BATCH_DRAWS + CROP_DRAWS)[0, BATCH_DRAWS:]
        if self.augment == "resize-crop-flip":
            image = resize_shorter_side(open_image(encoded, self.channels, row, draft=scaled), scaled)
            left = int(draws[0] * (image.width - self.side + 1))
            top = int(draws[1] * (image.height - self.side + 1))
            return to_array(image.crop((left, top, left + self.side, top + self.side)))
        image = open_image(encoded, self.channels, row)
        box = resized_crop_box(image.width, image.height, draws)
        return to_array(image.resize((self.side, self.side), Image.Resampling.BILINEAR, box=box))


def resized_crop_box(
    width: int, height: int, draws: npt.NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Box (left, top, right, bottom) of `RandomResizedCrop`: 8-100 % of the area, aspect ratio 3/4 to 4/3.

    Ten attempts, then the largest middle box of an allowed ratio, as torchvision does.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        draws: uniform numbers in [0, 1), shape (40,): area, ratio, left and top of each attempt.
    """
    for area_draw, ratio_draw, left_draw, top_draw in draws.reshape(_ATTEMPTS, 4):
        area = width * height * (_SCALE[0] + area_draw * (_SCALE[1] - _SCALE[0]))
        ratio = math.exp(_LOG_RATIO[0] + ratio_draw * (_LOG_RATIO[1] - _LOG_RATIO[0]))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(left_draw * (width - wide + 1)), int(top_draw * (height - high + 1))
            return (left, top, left + wide, top + high)
    if width / height < 3 / 4:
        wide, high = width, min(height, round(width / (3 / 4)))
    elif width / height > 4 / 3:
        wide, high = min(width, round(height * 4 / 3)), height
    else:
        wide, high = width, height
    left, top = (width - wide) // 2, (height - high) // 2
    return (left, top, left + wide, top + high)
