"""What reaches the Trainer: batches of tensors, from torch datasets or straight from image datasets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import TrainingArguments, default_data_collator
from transformers.trainer_utils import has_length

from jal_hf.data import prepare_dataset
from jal_hf.data.columns import LABEL_NAMES
from jal_hf.data.images.crops import evaluation_crop
from jal_hf.data.raw_datasets import are_placeholders, training_names
from jal_hf.models.labels import name_classes
from jal_hf.models.preprocessing import describe_evaluation
from jal_hf.training.methods.method import Batch

logger = logging.getLogger(__name__)


def collate_batch(batch: Any) -> Batch:
    """Pass a ready batch through; stack a list of examples as the stock collator does."""
    if isinstance(batch, dict):
        return batch
    return dict(default_data_collator(batch))


@dataclass(frozen=True)
class RawImages:
    """How a raw dataset with an image column becomes ready batches, for training and for evaluation.

    Attributes:
        model: Its `config.pretrained_cfg` says size, channels, mean and std.
        augment: Training augmentation; None is none, which is said once.
        label_column, image_column: None finds them by type and usual names.
    """

    model: nn.Module | None
    augment: str | None = None
    seed: int = 0
    label_column: str | None = None
    image_column: str | None = None
    device: str | torch.device = "cpu"
    on_bad_image: str = "error"

    def ready(self, dataset: Any, *, train: bool) -> Any:
        """The dataset as the Trainer takes it; see `prepare_dataset`.

        The names of a training dataset become the model's where it knows none, so that every other split is numbered
        by them.
        """
        config = getattr(self.model, "config", None)
        preprocessing = getattr(config, "pretrained_cfg", None)
        known = getattr(config, "id2label", None) or {}
        names = [str(known[number]) for number in sorted(known)]
        if train and names and are_placeholders(names):
            found = training_names(
                dataset, preprocessing, label_column=self.label_column, image_column=self.image_column
            )
            if found is not None and len(found) <= len(names):
                names[: len(found)] = found
                name_classes(config, names)
        prepared = prepare_dataset(
            dataset,
            preprocessing,
            train=train,
            augment=self.augment or "none",
            seed=self.seed,
            label_column=self.label_column,
            image_column=self.image_column,
            class_names=names or None,
            device=self.device,
            on_bad_image=self.on_bad_image,
        )
        if self.model is not None and prepared is not dataset:
            describe_evaluation(self.model, evaluation_crop(self.augment or "none"))
        if train and self.augment is None and prepared is not dataset:
            logger.warning(
                "Training without augmentation: none was asked for. Give the trainer augment='crop-flip' (small "
                "images) or 'randomresizedcrop' (photographs), or augment='none' to silence this line."
            )
        return prepared


def class_names_for(model: nn.Module, dataset: Any, label_column: str | None = None) -> list[str] | None:
    """The classes of a raw dataset for a network that knows no names yet, or None."""
    return None if hasattr(model, "config") else _class_names(dataset, label_column)


def check_classes(model: nn.Module | None, dataset: Any, label_column: str | None = None) -> None:
    """Nothing, where a network has an output for each class of a raw dataset.

    Raises:
        ValueError: It has fewer.
    """
    names, outputs = (
        _class_names(dataset, label_column),
        getattr(getattr(model, "config", None), "num_labels", None),
    )
    if names is not None and isinstance(outputs, int) and outputs < len(names):
        raise ValueError(
            f"The model has {outputs} outputs (num_labels) and the data {len(names)} classes; make the model with "
            f"num_labels={len(names)}."
        )


def _class_names(dataset: Any, label_column: str | None) -> list[str] | None:
    features = getattr(dataset, "features", None)
    if not isinstance(features, datasets.Features):
        return None
    named = [label_column] if label_column else LABEL_NAMES
    found = [features[name] for name in named if isinstance(features.get(name), datasets.ClassLabel)]
    return list(found[0].names) if found else None


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
