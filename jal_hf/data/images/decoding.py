"""From encoded bytes or a path to pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from jal_hf.ground.image_files import (
    DECODE_ERRORS,
    Encoded,
    UnreadableImageError,
    as_mode,
    open_encoded,
    unreadable,
    upright,
)


def open_image(encoded: Encoded | None, channels: int, row: object, draft: int | None = None) -> Image.Image:
    """Decode one image to grey (`channels` 1) or RGB (3).

    Args:
        encoded: bytes or a path, as `datasets.Image(decode=False)` gives them.
        channels: 1 or 3.
        row: original row number, or another name, for the message.
        draft: a JPEG may be decoded at a reduced scale as long as its shorter side keeps this many pixels.

    Raises:
        UnreadableImageError: nothing there, not an image, truncated, of floating-point pixels, or too large to be one.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        with open_encoded(encoded, row) as image:
            if draft is not None:
                image.draft(mode, (draft, draft))
            return as_mode(upright(image), mode)
    except UnreadableImageError:
        raise
    except DECODE_ERRORS as error:
        raise unreadable(encoded, row, error) from error


def resize_shorter_side(image: Image.Image, side: int) -> Image.Image:
    """Scale so that the shorter side is `side` pixels, antialiased bilinear, keeping the aspect ratio.

    The longer side is rounded down, as torchvision does, so that exported models see the same pixels.
    """
    width, height = image.size
    if min(width, height) == side:
        return image
    if width <= height:
        size = (side, max(side, int(side * height / width)))
    else:
        size = (max(side, int(side * width / height)), side)
    return image.resize(size, Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """Cut the middle `side` x `side` pixels, halves of a pixel rounded as torchvision does."""
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    if (left, top) == (0, 0) and image.size == (side, side):
        return image
    return image.crop((left, top, left + side, top + side))


def to_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pixels as uint8, shape (H, W, C)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
