"""Noise for streams: each batch is corrupted as it passes, from its own rows alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Features, IterableDataset

from jal_hf.noise.base import LabelNoise
from jal_hf.noise.columns import CLEAN_COLUMN, check_columns, class_names_of
from jal_hf.noise.image_encoder import ImageSettings
from jal_hf.noise.image_features import StreamImages, image_column_of
from jal_hf.noise.image_hashes import image_sha256


def add_to_stream(
    dataset: IterableDataset,
    noise: LabelNoise,
    label_column: str,
    seed: int,
    index_column: str | None,
    settings: ImageSettings,
    batch_size: int,
) -> IterableDataset:
    """Corrupt a stream lazily. Without an id column the rows are counted, which only one reader can do.

    Raises:
        ValueError: The noise needs all rows at once (mode exact).
    """
    if not noise.row_wise:
        raise ValueError(
            f"The noise {noise.spec!r} meets its counts exactly, for which all labels must be known; on a "
            f"stream add mode=iid (such as '{noise.kind}:{noise.rate:g},mode=iid')."
        )
    features = dataset.features
    if features is None:
        dataset = dataset._resolve_features()
        features = dataset.features
    check_columns(features, label_column, index_column)
    images = None
    if noise.needs_features:
        column = image_column_of(features, settings.image_column)
        images = StreamImages(column, settings, class_names_of(features, label_column) or noise.class_names)
    hashed = None if noise.image_hashes is None else image_column_of(features, settings.image_column)
    corrupt = _BatchCorruption(noise, label_column, seed, index_column, dataset.num_shards, images, hashed)
    return dataset.map(
        corrupt,
        batched=True,
        batch_size=batch_size,
        with_indices=index_column is None,
        features=None if features is None else Features({**features, CLEAN_COLUMN: features[label_column]}),
    )


class _BatchCorruption:
    """The map over batches: a class, so that it travels to the workers of a DataLoader."""

    def __init__(
        self,
        noise: LabelNoise,
        label_column: str,
        seed: int,
        index_column: str | None,
        num_shards: int,
        images: StreamImages | None,
        hashed_column: str | None,
    ) -> None:
        self.noise, self.label_column, self.seed = noise, label_column, seed
        self.index_column, self.num_shards, self.images = index_column, num_shards, images
        self.hashed_column = hashed_column

    def __call__(self, batch: Mapping[str, Any], indices: list[int] | None = None) -> dict[str, Any]:
        if self.index_column is None:
            self._check_single_reader()
            keys: Any = indices
        else:
            keys = batch[self.index_column]
        labels = batch[self.label_column]
        if any(label is None for label in labels):
            raise ValueError(f"The stream has rows without {self.label_column!r}; label or filter them.")
        clean = np.asarray(labels)
        features = None if self.images is None else self.images.of(batch)
        if self.hashed_column is not None:
            images = zip(batch[self.hashed_column], keys, strict=True)
            self.noise.check_images([image_sha256(image, key) for image, key in images], keys)
        noisy = self.noise.corrupt(clean, self.seed, keys, features)
        return {**batch, self.label_column: noisy.tolist(), CLEAN_COLUMN: clean.tolist()}

    def _check_single_reader(self) -> None:
        torch_data = sys.modules.get("torch.utils.data")  # only a loaded torch can have workers
        worker = torch_data.get_worker_info() if torch_data is not None else None
        if worker is not None and worker.num_workers > 1 and self.num_shards > 1:
            raise ValueError(
                f"The stream has {self.num_shards} shards read by {worker.num_workers} workers, so its rows "
                "cannot be numbered as they pass; give index_column, a column that names each row, or use "
                "one worker."
            )
