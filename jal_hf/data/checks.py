"""Cheap checks of images and splits that need no decoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import Any

import datasets
import numpy as np

from jal_hf.data.column_values import integer_column
from jal_hf.data.images.encoded import encoded_column, iterate_encoded

_MOST_ROWS = 200_000
_SAMPLED_IMAGES = 64


def shared_rows(train: datasets.Dataset, test: datasets.Dataset, image_column: str) -> int:
    """How many test rows hold an image that is, byte for byte, a training image.

    Looks at the first 200,000 rows of each split; images that are only named by a path count when path or
    file are the same one.
    """
    seen: set[bytes] = set()
    for block in _first_blocks(train, image_column):
        seen.update(_digest(encoded) for encoded in block if encoded is not None)
    return sum(
        _digest(encoded) in seen
        for block in _first_blocks(test, image_column)
        for encoded in block
        if encoded is not None
    )


def _first_blocks(split: datasets.Dataset, image_column: str) -> Any:
    return islice(iterate_encoded(split, image_column), _MOST_ROWS // 1000)


def _digest(encoded: Any) -> bytes:
    data = encoded.get("bytes")
    return hashlib.blake2b(
        data if data is not None else str(encoded.get("path")).encode(), digest_size=16
    ).digest()


def dataset_fingerprint(
    splits: Sequence[datasets.Dataset], image_column: str, label_column: str, names: Sequence[str]
) -> str:
    """Digest of class names, row counts, labels before noise and 64 evenly spaced images of each split."""
    digest = hashlib.sha256("\n".join(names).encode())
    for split in splits:
        digest.update(len(split).to_bytes(8, "little"))
        column = "clean_label" if "clean_label" in split.column_names else label_column
        digest.update(np.ascontiguousarray(integer_column(split, column), dtype="<i8").tobytes())
        chosen = np.unique(np.linspace(0, len(split) - 1, _SAMPLED_IMAGES).astype(int)).tolist()
        for encoded in encoded_column(split, image_column)[chosen][image_column]:
            if encoded is not None and encoded.get("bytes") is not None:
                digest.update(hashlib.sha256(encoded["bytes"]).digest())
    return digest.hexdigest()[:32]
