"""Small images decoded once into a memory-mapped array that all workers and processes share."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import numpy.typing as npt

from jal_hf.data.cache import cache_folder, kept, new_file, writable_folder
from jal_hf.data.column_values import row_numbers
from jal_hf.data.images.decoding import centre_crop, open_image, resize_shorter_side, to_array
from jal_hf.data.images.encoded import content_key, iterate_encoded
from jal_hf.data.progress import progress_line
from jal_hf.ground.image_files import Encoded

# One job a thread for this many images: a small image takes less time than handing it over.
_CHUNK = 125


def decoded_array(
    split: datasets.Dataset, image_column: str, side: int, channels: int, cache: Path | None = None
) -> npt.NDArray[np.uint8]:
    """All images of a split as uint8, decoded at the first call and memory-mapped at every later one.

    Images of another size are scaled (shorter side, antialiased bilinear) and cropped in the middle. The
    file is written beside its place and renamed, so processes that start together never see half of it.

    Args:
        split: rows with an image column.
        image_column: its name.
        side: height and width wanted, pixels.
        channels: 1 or 3.
        cache: folder; the default is `cache_folder()`, or where that cannot be written, one for temporary files.

    Shape: (N, side, side, channels).

    Raises:
        UnreadableImageError: an image cannot be decoded; the message names its original row.
    """
    folder = cache or cache_folder() / "decoded"
    shape = (len(split), side, side, channels)
    name = f"{content_key(split, image_column)}-{side}x{channels}-upright.npy"
    if (existing := _open_if_whole(folder / name, shape)) is not None:
        return existing
    if cache is None:
        folder = writable_folder("decoded")
        if (existing := _open_if_whole(folder / name, shape)) is not None:
            return existing
    folder.mkdir(parents=True, exist_ok=True)
    temporary = new_file(folder)
    try:
        pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _decode_into(pixels, split, image_column, side, channels)
        pixels.flush()
        del pixels
        target = kept(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    whole = _open_if_whole(target, shape)
    if whole is None:
        raise OSError(f"The decoded images in {target} cannot be read back; is the disk full?")
    return whole


def _open_if_whole(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    try:
        # Copy-on-write: torch wants a writable buffer, and the file must never change.
        pixels: npt.NDArray[np.uint8] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _decode_into(
    pixels: npt.NDArray[np.uint8], split: datasets.Dataset, image_column: str, side: int, channels: int
) -> None:
    rows = row_numbers(split)

    def decode(first: int, images: list[Encoded | None]) -> None:
        for position, encoded in enumerate(images, start=first):
            image = open_image(encoded, channels, int(rows[position]), draft=side)
            pixels[position] = to_array(centre_crop(resize_shorter_side(image, side), side))

    position = 0
    progress = progress_line(len(split), "decoding images", "image")
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool, progress:
        for block in iterate_encoded(split, image_column):
            starts = range(0, len(block), _CHUNK)
            chunks = [block[start : start + _CHUNK] for start in starts]
            for _ in pool.map(decode, [position + start for start in starts], chunks):
                pass
            position += len(block)
            progress.update(len(block))
