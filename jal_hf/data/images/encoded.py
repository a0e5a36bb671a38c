"""Access to the encoded images of a split, without decoding them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from jal_hf.data.column_values import row_numbers
from jal_hf.ground.image_files import Encoded, picture

BLOCK = 1000


def encoded_column(split: datasets.Dataset, image_column: str) -> datasets.Dataset:
    """The image column alone, as {"bytes", "path"} rows."""
    return split.select_columns([image_column]).cast_column(image_column, datasets.Image(decode=False))


def stored_blocks(split: datasets.Dataset, image_column: str) -> Iterator[pa.ChunkedArray]:
    """Blocks of `BLOCK` rows in order, each row a struct of bytes and path; memory stays at one block."""
    column = encoded_column(split, image_column).with_format("arrow")
    for table in column.iter(batch_size=BLOCK):
        yield table.column(image_column)


def iterate_encoded(split: datasets.Dataset, image_column: str) -> Iterator[list[Encoded | None]]:
    """Blocks of encoded images in row order."""
    for stored in stored_blocks(split, image_column):
        yield stored.to_pylist()


def stored_pictures(
    split: datasets.Dataset, image_column: str, positions: Sequence[int] | None = None
) -> list[Image.Image]:
    """Decoded images of some rows, in the mode that they are stored in; all rows when `positions` is None.

    `split[position][image_column]` would decode with every reader that Pillow has, and wait for pipes.

    Raises:
        UnreadableImageError: an image cannot be decoded; the message names its original row.
    """
    rows = row_numbers(split)
    chosen = range(len(split)) if positions is None else positions
    column = encoded_column(split, image_column)
    return [picture(column[int(place)][image_column], int(rows[place])) for place in chosen]


def stored_bytes(encoded: Encoded | None) -> bytes | None:
    """The encoded image itself, read where it is a file; None where there is none, or no regular file."""
    if encoded is None or encoded.get("bytes") is not None:
        return None if encoded is None else encoded["bytes"]
    path = encoded.get("path")
    return Path(path).read_bytes() if path is not None and os.path.isfile(path) else None


def file_names(split: datasets.Dataset, image_column: str, folder: str | None = None) -> list[str] | None:
    """Names of the image files, in row order; None where images have none (as in tables of bytes), or for a stream.

    Args:
        split: the rows.
        image_column: name of the images.
        folder: absolute paths below it are shown from there; default: from the folder that holds all of them.
    """
    if not isinstance(split, datasets.Dataset) or len(split) == 0:
        return None
    paths = [
        path
        for stored in stored_blocks(split, image_column)
        for path in pc.struct_field(stored, "path").to_pylist()
    ]
    if any(path is None for path in paths):
        return None
    absolute = [path for path in paths if os.path.isabs(path)]
    base = folder or (os.path.commonpath([os.path.dirname(path) for path in absolute]) if absolute else "")
    return [_shown_from(path, os.path.abspath(base)) if os.path.isabs(path) else path for path in paths]


def _shown_from(path: str, base: str) -> str:
    return os.path.relpath(path, base) if os.path.commonpath([path, base]) == base else path


def content_key(split: datasets.Dataset, image_column: str) -> str:
    """Digest of the encoded images in order: equal content, equal key, whatever was done to the labels.

    Images that are only named by a path count by path, size and time of change.
    """
    digest = hashlib.blake2b(digest_size=16)
    for stored in stored_blocks(split, image_column):
        for chunk in stored.chunks:
            data = chunk.field("bytes")
            lengths = pc.binary_length(data).fill_null(-1).to_numpy(zero_copy_only=False)
            digest.update(lengths.astype("<i8").tobytes())
            digest.update(_joined(data))
            if (lengths < 0).any():
                for path in chunk.field("path").filter(data.is_null()).to_pylist():
                    digest.update(_file_identity(path))
    return digest.hexdigest()


def _joined(values: pa.Array) -> memoryview | bytes:
    """The bytes of all values one after the other, without a Python object for each."""
    _, offsets, data = values.buffers()
    if data is None or len(values) == 0:
        return b""
    width = np.int64 if pa.types.is_large_binary(values.type) else np.int32
    bounds = np.frombuffer(offsets, dtype=width)[values.offset : values.offset + len(values) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def _file_identity(path: str | None) -> bytes:
    if path is None:
        return b"none"
    try:
        status = os.stat(path)
    except OSError:
        return f"missing {path}".encode()
    return f"{path} {status.st_size} {status.st_mtime_ns}".encode()
