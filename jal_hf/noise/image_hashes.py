"""What an image is, whatever file it comes in: the SHA-256 of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from datasets import Dataset, Image

from jal_hf.ground.image_files import DECODE_ERRORS, as_mode, unreadable
from jal_hf.noise.image_encoder import open_image

RECIPE = (
    "SHA-256 of the text WIDTHxHEIGHT, a line feed, and the image's pixels as 8-bit RGB, row by row from the top; "
    "grey is repeated in all three channels"
)
"""How a hash is made, in words for a manifest."""
_BLOCK = 1024


def image_sha256(image: Any, row: object = 0) -> str:
    """SHA-256, in hex, of the decoded pixels: the same for any lossless file of the same picture.

    The pixels are turned to RGB first, so that a grey PNG and the same picture stored in colour are one image.
    What a JPEG decodes to depends on the decoder, if only in the last bit; its hash holds for one decoder.

    Args:
        image: A PIL image, or an encoded one as datasets stores it (`{"bytes", "path"}`).
        row: Names it in an error.

    Raises:
        UnreadableImageError: It cannot be decoded.
    """
    opened = open_image(image, row)
    try:
        pixels = as_mode(opened, "RGB")
    except DECODE_ERRORS as error:
        raise unreadable(None, row, error) from error
    finally:
        if opened is not image:
            opened.close()
    return hashlib.sha256(f"{pixels.width}x{pixels.height}\n".encode() + pixels.tobytes()).hexdigest()


def image_hashes(
    dataset: Dataset, column: str, *, on_rows: Callable[[int], object] | None = None
) -> list[str]:
    """The hash of each row's image, in the order of the dataset; only a block is held at once.

    Args:
        dataset: Rows with images.
        column: The column of images.
        on_rows: Called with the number of rows after each block, for a progress bar.
    """
    images = dataset.with_format(None).select_columns([column]).cast_column(column, Image(decode=False))
    found: list[str] = []
    for batch in images.iter(batch_size=_BLOCK):
        found += (image_sha256(image, len(found) + place) for place, image in enumerate(batch[column]))
        if on_rows is not None:
            on_rows(len(batch[column]))
    return found


def hashes_sha256(hashes: Iterable[str]) -> str:
    """SHA-256 of many hashes, one a line: one figure for all images in their order."""
    return hashlib.sha256("".join(f"{item}\n" for item in hashes).encode()).hexdigest()
