"""What reaches the Trainer: batches of tensors, from torch datasets or straight from image datasets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import nn
from transformers import default_data_collator

from jal_hf.data import make_image_dataset
from jal_hf.data.columns import LABEL_NAMES, find_image_column, find_label_column
from jal_hf.training.methods.method import Batch

logger = logging.getLogger(__name__)

# Fields of a batch that serve the loss or the record and never reach the model.
BATCH_EXTRAS = frozenset({"clean_label", "index", "sample_weight", "labels"})


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
        """The dataset as the Trainer takes it; a dict of splits gives a dict.

        Anything that is no raw image dataset comes back as it is: torch datasets, datasets with a transform of
        their own, tokenized text.
        """
        if isinstance(dataset, Mapping):
            return {name: self.ready(part, train=train) for name, part in dataset.items()}
        settings = getattr(getattr(self.model, "config", None), "pretrained_cfg", None)
        if not settings or not self.is_raw(dataset):
            return dataset
        if train and self.augment is None:
            logger.warning(
                "Training without augmentation: none was asked for. Give the trainer augment='crop-flip' (small "
                "images) or 'randomresizedcrop' (photographs), or augment='none' to silence this line."
            )
        channels, _, size = settings["input_size"]
        return make_image_dataset(
            dataset,
            image_column=self.image_column or find_image_column(dataset.features),
            label_column=self.label_column or find_label_column(dataset.features),
            image_size=size,
            in_chans=channels,
            mean=settings["mean"],
            std=settings["std"],
            augment=self.augment or "none",
            train=train,
            seed=self.seed,
            device=self.device,
            on_bad_image=self.on_bad_image,
        )

    def is_raw(self, dataset: Any) -> bool:
        """Whether this is a dataset whose images are still to be decoded."""
        if isinstance(dataset, datasets.Dataset) and dataset.format["type"] == "custom":
            return False
        if not isinstance(dataset, datasets.Dataset | datasets.IterableDataset):
            return False
        features = dataset.features or {}
        return self.image_column is not None or any(
            isinstance(feature, datasets.Image) for feature in features.values()
        )


def class_names_for(model: nn.Module, dataset: Any, label_column: str | None = None) -> list[str] | None:
    """The classes of a raw dataset for a network that knows no names yet, or None."""
    features = getattr(dataset, "features", None)
    if hasattr(model, "config") or not isinstance(features, datasets.Features):
        return None
    named = [label_column] if label_column else LABEL_NAMES
    found = [features[name] for name in named if isinstance(features.get(name), datasets.ClassLabel)]
    return list(found[0].names) if found else None


def on_accelerator(dataset: Any) -> bool:
    """Whether a dataset's images lie on a GPU already."""
    images = getattr(dataset, "images", None)
    return images is not None and images.device.type != "cpu"
