"""What tells one dataset from another on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import datasets
import numpy as np

from jal_hf.data.column_values import integer_column
from jal_hf.data.images.encoded import encoded_column

_SAMPLED_IMAGES = 64


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
