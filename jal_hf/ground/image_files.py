"""The one way in which this package opens a stored image: known formats only, and regular files only.

Pillow tries every reader it has unless it is told which; its reader of EPS starts Ghostscript. A named pipe or a
device never ends.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""The formats that are decoded, as Pillow names them, JPEG with MPO; none of their readers starts another program."""

IMAGE_ENDINGS = frozenset(
    (
        ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff",
        ".webp",
    )
)  # fmt: skip
"""Endings of the names of files in these formats, in lower case."""

DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, OverflowError, Image.DecompressionBombError)
"""What Pillow's readers raise on damaged files; SyntaxError is their "not this format" for PNG chunks."""

MOST_UNREADABLE = 0.05
"""Share of unreadable images beyond which skipping them would hide a broken dataset."""

# Pillow warns from here on; pictures of this size are damaged headers, or attacks.
_MOST_PIXELS = 89_478_485

Encoded = Mapping[str, Any]
"""A row of `datasets.Image(decode=False)`: {"bytes": bytes | None, "path": str | None}."""


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message names its row."""


def has_image_ending(name: str) -> bool:
    """Whether a file's name ends as images do."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def regular_files(folder: str | os.PathLike[str]) -> frozenset[str]:
    """Names of the regular files in a folder, links to such included; pipes, devices and broken links are none."""
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_file())


def open_encoded(encoded: Encoded | None, row: object) -> Image.Image:
    """Open a stored image: its header is read, its pixels are decoded when they are first used.

    Args:
        encoded: bytes or a path, as `datasets.Image(decode=False)` gives them.
        row: names it in a message.

    Raises:
        UnreadableImageError: nothing there, no regular file, no image of these formats, or too large to be one.
    """
    if not isinstance(encoded, Mapping) or (encoded.get("bytes") is None and encoded.get("path") is None):
        raise UnreadableImageError(f"Row {row} has no image (the cell is empty).")
    data = encoded.get("bytes")
    try:
        if data is None and not os.path.isfile(encoded["path"]) and os.path.exists(encoded["path"]):
            raise ValueError("it is a folder, pipe, device or socket, not a regular file")
        image = Image.open(io.BytesIO(data) if data is not None else encoded["path"], formats=IMAGE_FORMATS)
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"it claims {image.width} x {image.height} pixels")
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"Row {row}{_place(encoded)} is not a readable image: it is in none of the formats "
            f"{', '.join(IMAGE_FORMATS)}."
        ) from error
    except DECODE_ERRORS as error:
        raise unreadable(encoded, row, error) from error
    return image


def upright(image: Image.Image) -> Image.Image:
    """The image itself, decoded and turned as its EXIF orientation says, in which cameras tell how they were held."""
    image.load()
    # a damaged block may stand beside pixels that are whole
    with contextlib.suppress(SyntaxError, ValueError, TypeError, LookupError, struct.error):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of the image when it is `upright`, from the header where its format has the orientation there."""
    width, height = image.size
    if width != height:
        with contextlib.suppress(*DECODE_ERRORS, LookupError):
            if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                return height, width
    return width, height


def is_grey(mode: str) -> bool:
    """Whether a Pillow mode has one channel of brightness."""
    return mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;16")


def as_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image with 8 bits a channel, in grey (`mode` "L") or colour ("RGB"): what training, prediction and pages see.

    Raises:
        ValueError: its pixels are floating-point numbers.
    """
    if image.mode == "F":
        raise ValueError(
            "floating-point pixels do not say which number is white; save the image with 8 or 16 bits a channel"
        )
    if image.mode.startswith("I;16") or image.mode == "I":
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 256))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def unreadable(encoded: Encoded | None, row: object, error: BaseException) -> UnreadableImageError:
    """The error that names the row of an image which failed to decode."""
    return UnreadableImageError(f"Row {row}{_place(encoded)} is not a readable image: {error}.")


def picture(encoded: Encoded | None, row: object) -> Image.Image:
    """The decoded image in grey or colour, 8 bits a channel, for looking at.

    Raises:
        UnreadableImageError: as `open_encoded`, or its pixels are damaged.
    """
    try:
        with open_encoded(encoded, row) as image:
            return as_mode(upright(image), "L" if is_grey(image.mode) else "RGB").copy()
    except UnreadableImageError:
        raise
    except DECODE_ERRORS as error:
        raise unreadable(encoded, row, error) from error


def _place(encoded: Encoded | None) -> str:
    return f" ({encoded['path']})" if encoded and encoded.get("path") else ""
