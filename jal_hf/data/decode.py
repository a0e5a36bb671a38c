"""From encoded bytes or a path to pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

# Pillow warns from here on; pictures of this size are damaged headers, or attacks.
_MOST_PIXELS = 89_478_485

_MARKS = ((b"\x89PNG", ("PNG",)), (b"\xff\xd8\xff", ("JPEG", "MPO")))

Encoded = Mapping[str, Any]
"""A row of `datasets.Image(decode=False)`: {"bytes": bytes | None, "path": str | None}."""


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message names its row."""


def open_image(encoded: Encoded | None, channels: int, row: int, draft: int | None = None) -> Image.Image:
    """Decode one image to grey (`channels` 1) or RGB (3).

    Args:
        encoded: bytes or a path, as `datasets.Image(decode=False)` gives them.
        channels: 1 or 3.
        row: original row number, for the message.
        draft: a JPEG may be decoded at a reduced scale as long as its shorter side keeps this many pixels.

    Raises:
        UnreadableImageError: nothing there, not an image, truncated, or too large to be one.
    """
    try:
        if encoded is None or (encoded.get("bytes") is None and encoded.get("path") is None):
            raise UnreadableImageError(f"Row {row} holds no image (the cell is empty).")
        data = encoded.get("bytes")
        source = io.BytesIO(data) if data is not None else encoded["path"]
        with Image.open(source, formats=_formats(data)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"it claims {image.width} x {image.height} pixels")
            if draft is not None:
                image.draft("L" if channels == 1 else "RGB", (draft, draft))
            return _as_mode(image, channels)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"Row {row}{_place(encoded)} holds no image of a known format.") from error
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, Image.DecompressionBombError) as error:
        # Pillow's readers raise any of these on damaged files; SyntaxError is its "not this format" for PNG
        # chunks.
        raise UnreadableImageError(f"Row {row}{_place(encoded)} is not a readable image: {error}.") from error


def _formats(data: bytes | None) -> tuple[str, ...] | None:
    """The format that the first bytes tell; None lets Pillow try all its readers, which takes longer than to decode."""
    if data is None:
        return None
    if data[8:12] == b"WEBP":
        return ("WEBP",)
    return next((formats for mark, formats in _MARKS if data.startswith(mark)), None)


def _place(encoded: Encoded | None) -> str:
    return f" ({encoded['path']})" if encoded and encoded.get("path") else ""


def _as_mode(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        scaled = (np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(scaled)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def resize_shorter_side(image: Image.Image, side: int) -> Image.Image:
    """Scale so that the shorter side is `side` pixels, antialiased bilinear, keeping the aspect ratio."""
    width, height = image.size
    if min(width, height) == side:
        return image
    if width <= height:
        size = (side, max(side, round(height * side / width)))
    else:
        size = (max(side, round(width * side / height)), side)
    return image.resize(size, Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """Cut the middle `side` x `side` pixels."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if (left, top) == (0, 0) and image.size == (side, side):
        return image
    return image.crop((left, top, left + side, top + side))


def to_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pixels as uint8, shape (H, W, C)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
