"""The loaders of a Trainer: how batches are collated, what becomes of the last one, and of the workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import (
    PreTrainedTokenizerBase,
    SequenceFeatureExtractor,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_utils import has_length

from jal_hf.data.images.batch_datasets import LabelledImages
from jal_hf.data.images.stream_dataset import StreamedImages
from jal_hf.training.methods.batch import Batch


def collate_batch(batch: Any) -> Batch:
    """Pass a ready batch through; stack a list of examples as the stock collator does."""
    if isinstance(batch, dict):
        return batch
    return dict(default_data_collator(batch))


def is_stock_collator(collator: Any) -> bool:
    """Whether batches are collated by transformers or here, so that it is known what becomes of which column."""
    return collator is None or str(getattr(collator, "__module__", "")).startswith(
        ("transformers.", "jal_hf.")
    )


def is_tokenizer(processing_class: Any) -> bool:
    """Whether a Trainer without a collator pads its rows by what it was given to process them."""
    return isinstance(processing_class, PreTrainedTokenizerBase | SequenceFeatureExtractor)


@contextmanager
def collating_ready_batches(trainer: Any, dataset: Any) -> Iterator[None]:
    """Inside, the parent's loader of prepared images passes their batches through, which no other collator takes."""
    inner = dataset
    while isinstance(inner, torch.utils.data.Subset):
        inner = inner.dataset
    if not isinstance(inner, LabelledImages | StreamedImages):
        yield
        return
    args = trainer.args
    before = trainer.data_collator, args.remove_unused_columns
    trainer.data_collator, args.remove_unused_columns = collate_batch, False
    try:
        yield
    finally:
        trainer.data_collator, args.remove_unused_columns = before


def on_accelerator(dataset: Any) -> bool:
    """Whether a dataset's images lie on a GPU already."""
    images = getattr(dataset, "images", None)
    return images is not None and images.device.type != "cpu"


def leaves_one_row(model: nn.Module | None, dataset: Any, batch_size: int) -> bool:
    """Whether the last batch of an epoch holds a single row, over which batch norm has no variance."""
    if model is None or not has_length(dataset) or not 1 < batch_size < len(dataset):
        return False
    norms = (layer for layer in model.modules() if isinstance(layer, _BatchNorm))
    return len(dataset) % batch_size == 1 and any("train" not in vars(layer) for layer in norms)


@contextmanager
def ending_workers(args: TrainingArguments) -> Iterator[None]:
    """Inside, the parent's loaders get workers that end with the pass over the data, though those of training persist.

    Persistent ones end with their loader. Where that is left to the garbage collector, it takes the queue from under
    them first, and each is waited for 5 seconds.
    """
    before, args.dataloader_persistent_workers = args.dataloader_persistent_workers, False
    try:
        yield
    finally:
        args.dataloader_persistent_workers = before


def end_workers(loader: Any) -> None:
    """End the persistent workers of a loader, if it has any; another pass over it starts new ones."""
    loader = getattr(loader, "base_dataloader", loader)
    end = getattr(getattr(loader, "_iterator", None), "_shutdown_workers", None)
    if end is not None:
        end()
        loader._iterator = None


@contextmanager
def dropping_last(args: TrainingArguments, is_dropped: bool) -> Iterator[None]:
    """Inside, the parent's loaders leave an incomplete last batch out, or not; it asks one setting for all of them."""
    before, args.dataloader_drop_last = args.dataloader_drop_last, is_dropped
    try:
        yield
    finally:
        args.dataloader_drop_last = before
