"""What tells one dataset from another on any machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from jal_hf.data.column_values import integer_column
from jal_hf.data.images.encoded import (
    encoded_column,
    file_names,
    iterate_encoded,
    stored_blocks,
    stored_bytes,
)

_SAMPLED_IMAGES = 64


def dataset_fingerprint(
    splits: Sequence[datasets.Dataset], image_column: str, label_column: str, names: Sequence[str]
) -> str:
    """Digest of class names, row counts, labels before noise, 64 evenly spaced images of each split, and file names.

    The names are those of images that are files, from the folder that holds all of them.
    """
    digest = hashlib.sha256("\n".join(names).encode())
    for split in splits:
        digest.update(len(split).to_bytes(8, "little"))
        column = "clean_label" if "clean_label" in split.column_names else label_column
        digest.update(np.ascontiguousarray(integer_column(split, column), dtype="<i8").tobytes())
        chosen = np.unique(np.linspace(0, len(split) - 1, _SAMPLED_IMAGES).astype(int)).tolist()
        for encoded in encoded_column(split, image_column)[chosen][image_column]:
            data = stored_bytes(encoded)
            if data is not None:
                digest.update(hashlib.sha256(data).digest())
        files = file_names(split.select(_rows_of_files(split, image_column)), image_column)
        for name in files or ():
            digest.update(name.replace(os.sep, "/").encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()[:32]


def row_digests(split: datasets.Dataset, column: str) -> npt.NDArray[np.uint64]:
    """A number for each row's image or text, (N,): equal content, equal number, in a table or in files; 0 for none."""
    if isinstance(split.features[column], datasets.Value):
        contents = [str(text).encode() for text in split[column][:]]
        return np.array([_number(content) for content in contents], dtype=np.uint64)
    found = [_number(stored_bytes(encoded)) for block in iterate_encoded(split, column) for encoded in block]
    return np.array(found, dtype=np.uint64)


def _rows_of_files(split: datasets.Dataset, image_column: str) -> npt.NDArray[np.int64]:
    is_file = [
        pc.and_(
            pc.is_null(pc.struct_field(stored, "bytes")), pc.is_valid(pc.struct_field(stored, "path"))
        ).to_numpy()
        for stored in stored_blocks(split, image_column)
    ]
    return np.flatnonzero(np.concatenate(is_file))


def _number(content: bytes | None) -> int:
    if content is None:
        return 0
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
