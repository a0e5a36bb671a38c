"""Noise for streams: each batch is corrupted as it passes, from its own rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features, IterableDataset
from datasets.iterable_dataset import ArrowExamplesIterable

from jal_hf.noise.base import LabelNoise
from jal_hf.noise.columns import CLEAN_COLUMN, check_columns, class_names_of
from jal_hf.noise.image_encoder import ImageSettings
from jal_hf.noise.image_features import StreamImages, image_column_of
from jal_hf.noise.image_hashes import image_sha256

_BLOCK = 32  # rows read at once to be numbered, each of which may hold an image


def add_to_stream(
    dataset: IterableDataset,
    noise: LabelNoise,
    label_column: str,
    seed: int,
    index_column: str | None,
    settings: ImageSettings,
    batch_size: int,
) -> IterableDataset:
    """Corrupt a stream lazily. Without an id column the rows are counted, for which it is read `in_order`.

    Raises:
        ValueError: The noise needs all rows at once (mode exact), or the rows cannot be counted.
    """
    if not noise.row_wise:
        raise ValueError(
            f"The noise {noise.spec!r} meets its counts exactly, for which all labels must be known; on a "
            f"stream add mode=iid, as in '{noise.spec},mode=iid'."
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
    if index_column is None:
        if dataset._distributed is not None:
            raise ValueError(
                "The stream is one process's part of another (split_dataset_by_node), so its rows cannot be "
                "numbered; split it after the noise, or give index_column, a column that names each row."
            )
        dataset = in_order(dataset)
    corrupt = _BatchCorruption(noise, label_column, seed, index_column, images, hashed)
    return dataset.map(
        corrupt,
        batched=True,
        batch_size=batch_size,
        with_indices=index_column is None,
        features=None if features is None else Features({**features, CLEAN_COLUMN: features[label_column]}),
    )


def in_order(stream: IterableDataset) -> IterableDataset:
    """The rows of a stream with known features, at every epoch and for every reader in the order in which it has them.

    `datasets` shuffles and splits the shards below a map, even when it is asked to above it; this has one shard.
    """
    return IterableDataset(
        ArrowExamplesIterable(_tables, {"stream": stream.with_format("arrow")}),
        info=stream.info,
        split=stream.split,
        formatting=stream._formatting,
        token_per_repo_id=stream._token_per_repo_id,
    )


def _tables(stream: IterableDataset) -> Iterator[tuple[int, pa.Table]]:
    # Batches, unlike rows, are not shared out among the workers of a DataLoader.
    yield from enumerate(stream.iter(_BLOCK))


class _BatchCorruption:
    """The map over batches: a class, so that it travels to the workers of a DataLoader."""

    def __init__(
        self,
        noise: LabelNoise,
        label_column: str,
        seed: int,
        index_column: str | None,
        images: StreamImages | None,
        hashed_column: str | None,
    ) -> None:
        self.noise, self.label_column, self.seed = noise, label_column, seed
        self.index_column, self.images, self.hashed_column = index_column, images, hashed_column

    def __call__(self, batch: Mapping[str, Any], indices: list[int] | None = None) -> dict[str, Any]:
        keys: Any = indices if self.index_column is None else batch[self.index_column]
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
