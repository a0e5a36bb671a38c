"""What reaches the Trainer: batches of tensors, from torch datasets or straight from image datasets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import datasets
import torch
from torch import nn

from jal_hf.data import prepare_dataset
from jal_hf.data.columns import LABEL_NAMES
from jal_hf.data.images.crops import evaluation_crop
from jal_hf.data.raw_datasets import are_placeholders, training_names
from jal_hf.models.labels import name_classes
from jal_hf.models.preprocessing import Preprocessing, describe_evaluation
from jal_hf.training.given_columns import (
    check_labels,
    check_order,
    named_by_data,
    refuse_images,
    refuse_texts,
    without_missing_labels,
    without_unused_columns,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawImages:
    """How a raw dataset becomes ready batches, for training and for evaluation: its images, or its columns of numbers.

    Attributes:
        model: Its `config.pretrained_cfg` says size, channels, mean and std of images, its `config.num_labels` the
            number of classes.
        augment: Training augmentation; None is none, which is said once.
        label_column, image_column: None finds them by type and usual names.
        drop_unused: Leave out what no batch of a dataset without images can hold; see `without_unused_columns`.
        keeps_numbers: But no column of numbers, which a step of one's own may read.
        ignore_index: The one label outside the model's classes that passes; None passes all, which an own collator
            may change.
        num_classes: Of a model that doesn't tell them.
        preprocessing: `input_size` (C, H, W), `mean` and `std`, for a model that doesn't tell them.
        is_left_alone: Whether every dataset comes back as it is, for a collator that makes batches of its rows.

    Raises:
        ValueError: `preprocessing` without one of these.
    """

    model: nn.Module | None
    augment: str | None = None
    seed: int = 0
    label_column: str | None = None
    image_column: str | None = None
    device: str | torch.device = "cpu"
    on_bad_image: str = "error"
    drop_unused: bool = False
    keeps_numbers: bool = False
    ignore_index: int | None = None
    num_classes: int | None = None
    preprocessing: Preprocessing | Mapping[str, Any] | None = None
    is_left_alone: bool = False

    def __post_init__(self) -> None:
        known = {"input_size", "mean", "std"}
        if isinstance(self.preprocessing, Mapping) and (missing := sorted(known - set(self.preprocessing))):
            raise ValueError(
                f"preprocessing says no {' and no '.join(missing)}; it needs input_size (C, H, W), mean and std."
            )

    def ready(self, dataset: Any, *, train: bool) -> Any:
        """The dataset, or for evaluation a dict of splits, as the Trainer takes it; see `prepare_dataset`.

        The names of a training dataset become the model's where it knows none, so that every other split is numbered
        by them.

        Raises:
            ValueError: Labels outside the model's classes; the rows are named. Labels that are texts, or that number
                the model's classes in another order. Images that nobody says how to prepare, and texts that are not
                tokenised.
        """
        if self.is_left_alone:
            return dataset
        if isinstance(dataset, Mapping) and not train:
            return {name: self.ready(split, train=False) for name, split in dataset.items()}
        config = getattr(self.model, "config", None)
        preprocessing = self.known_preprocessing
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
        if prepared is dataset:
            classes = getattr(config, "num_labels", self.num_classes)
            if train and names and are_placeholders(names):
                names = named_by_data(dataset, config, names)
            if self.ignore_index is not None:
                refuse_images(dataset, self.model)
                refuse_texts(dataset, self.model)
                check_order(dataset, names)
                if not train and self.ignore_index != -1:
                    dataset = without_missing_labels(dataset)
                if isinstance(classes, int):
                    check_labels(dataset, classes, self.ignore_index)
            return (
                without_unused_columns(dataset, self.model, self.keeps_numbers)
                if self.drop_unused
                else dataset
            )
        self.describe()
        if train and self.augment is None:
            logger.warning(
                "Training without augmentation: none was asked for. Give the trainer augment='crop-flip' (small "
                "images) or 'randomresizedcrop' (photographs), or augment='none' to silence this line."
            )
        return prepared

    @property
    def known_preprocessing(self) -> Mapping[str, Any] | None:
        """What the model says of its images, or else what it was given; None where neither does."""
        own: Mapping[str, Any] | None = getattr(getattr(self.model, "config", None), "pretrained_cfg", None)
        given = self.preprocessing
        return own or (given.to_dict() if isinstance(given, Preprocessing) else given)

    def for_model(self, model: nn.Module) -> RawImages:
        """The same for another model of its kind, whose classes get the names of the first one's."""
        known = getattr(getattr(self.model, "config", None), "id2label", None)
        if known and hasattr(model, "config"):
            name_classes(model.config, [str(known[number]) for number in sorted(known)])
        return replace(self, model=model)

    def describe(self) -> None:
        """Say in the model's config how its images are evaluated."""
        if self.model is not None:
            describe_evaluation(self.model, evaluation_crop(self.augment or "none"))


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
