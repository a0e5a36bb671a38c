"""Small pictures as data URIs, so that a page carries its images inside itself."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from jal_hf.ground.image_files import DECODE_ERRORS, as_mode, is_grey

SIDE = 64
_LARGEST_READ = 4 * SIDE
_URI = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)")


def as_picture(image: Image.Image | npt.NDArray[np.uint8]) -> Image.Image:
    """A PIL image of an image or of an array (H, W), (H, W, 1) or (H, W, 3) of uint8."""
    if isinstance(image, Image.Image):
        return image
    array = np.asarray(image, dtype=np.uint8)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return Image.fromarray(array)


def thumbnail_uri(image: Image.Image | npt.NDArray[np.uint8], side: int = SIDE) -> str:
    """A `data:` URI of the image, at most `side` pixels on its longer edge; never enlarged.

    Tiny images keep every pixel as PNG; what had to be shrunk is stored as JPEG, five times smaller.
    """
    picture = as_picture(image)
    picture = as_mode(picture, "L" if is_grey(picture.mode) else "RGB")
    shrunk = max(picture.size) > side
    if shrunk:
        picture.thumbnail((side, side))
    buffer = io.BytesIO()
    if shrunk:
        picture.save(buffer, format="JPEG", quality=75)
    else:
        picture.save(buffer, format="PNG", optimize=True)
    kind = "jpeg" if shrunk else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def thumbnail_uris(images: Iterable[Image.Image | npt.NDArray[np.uint8]], limit: int) -> list[str]:
    """URIs of the first images, as many as fit in `limit` characters together."""
    uris: list[str] = []
    spent = 0
    for image in images:
        uri = thumbnail_uri(image)
        spent += len(uri)
        if spent > limit:
            break
        uris.append(uri)
    return uris


def picture_of_uri(uri: object) -> Image.Image:
    """The image that `thumbnail_uri` wrote.

    Raises:
        ValueError: it is no small PNG or JPEG as a `data:` URI.
    """
    found = _URI.fullmatch(uri) if isinstance(uri, str) else None
    if found is None:
        raise ValueError("A thumbnail is no picture that an audit stored.")
    try:
        with Image.open(io.BytesIO(base64.b64decode(found[1])), formats=("PNG", "JPEG")) as picture:
            if max(picture.size) > _LARGEST_READ:
                raise ValueError(f"it claims {picture.width} x {picture.height} pixels")
            return picture.convert("RGB")
    except DECODE_ERRORS as error:
        raise ValueError(f"A thumbnail cannot be read: {error}.") from error
