"""What reaches the Trainer: batches of tensors, from torch datasets or straight from image datasets."""

from __future__ import annotations

import inspect
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
from jal_hf.data.labels import refuse_wrong_labels, unlabelled_rows
from jal_hf.data.raw_datasets import are_placeholders, is_image, is_raw, training_names
from jal_hf.data.stream_loading import with_features
from jal_hf.models.labels import name_classes
from jal_hf.models.preprocessing import Preprocessing, describe_evaluation
from jal_hf.training.methods.method import BATCH_EXTRAS

logger = logging.getLogger(__name__)

_LABEL_FIELDS = ("labels", "label", "label_ids")
"""What the collators of transformers take for the labels, the first of them that is there."""


@dataclass(frozen=True)
class RawImages:
    """How a raw dataset becomes ready batches, for training and for evaluation: its images, or its columns of numbers.

    Attributes:
        model: Its `config.pretrained_cfg` says size, channels, mean and std of images, its `config.num_labels` the
            number of classes.
        augment: Training augmentation; None is none, which is said once.
        label_column, image_column: None finds them by type and usual names.
        drop_unused: Leave out what no batch of a dataset without images can hold; see `without_unused_columns`.
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
            ValueError: Labels outside the model's classes; the rows are named. Images that nobody says how to prepare.
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
            if self.ignore_index is not None:
                refuse_images(dataset, self.model)
                if not train and self.ignore_index != -1:
                    dataset = without_missing_labels(dataset)
                if isinstance(classes, int):
                    check_labels(dataset, classes, self.ignore_index)
            return without_unused_columns(dataset, self.model) if self.drop_unused else dataset
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


def refuse_images(dataset: Any, model: nn.Module | None) -> None:
    """Nothing, where a dataset that is left alone holds no images, which no stock collator puts together.

    Raises:
        ValueError: It does.
    """
    if is_raw(dataset) and any(map(is_image, (getattr(dataset, "features", None) or {}).values())):
        raise ValueError(
            f"{type(model).__name__} does not say how images are prepared for it, so those of the dataset cannot be. "
            "Take a network of timm or of create_model; or prepare them yourself, with dataset.set_transform(...) or a "
            "data_collator; a model of transformers is told by jal_hf.models.as_run_model(model, "
            "preprocessing={'image_size': 224})."
        )


def without_missing_labels(dataset: Any) -> Any:
    """A dataset of `datasets` without its column of labels where each is -1 or empty, as of rows to be predicted."""
    if not isinstance(dataset, datasets.Dataset) or not is_raw(dataset):
        return dataset
    column = next((name for name in _LABEL_FIELDS if name in dataset.column_names), None)
    if column is None or not getattr(dataset.features[column], "dtype", "").startswith("int"):
        return dataset
    return dataset.remove_columns(column) if unlabelled_rows(dataset, column).all() else dataset


def check_labels(dataset: Any, num_classes: int, ignore_index: int) -> None:
    """Nothing, where the labels of a dataset of `datasets` are classes of the model or ignored; others are not read.

    Raises:
        ValueError: Some are neither; the rows are named.
    """
    if num_classes < 2 or not isinstance(dataset, datasets.Dataset) or not is_raw(dataset):
        return
    column = next((name for name in _LABEL_FIELDS if name in dataset.column_names), None)
    if column is not None:
        refuse_wrong_labels(dataset, column, num_classes, ignore_index)


def without_unused_columns(dataset: Any, model: nn.Module | None) -> Any:
    """A dataset of `datasets` without the columns that neither the model, the loss nor a method takes.

    Of a model that takes fields of any name they are those that hold no numbers, such as the text beside its tokens.
    Left alone: datasets with images or with a transform of their own, which may need any column, and torch datasets.
    """
    if model is None or not is_raw(dataset):
        return dataset
    is_stream = isinstance(dataset, datasets.IterableDataset)
    features = with_features(dataset, "given").features if is_stream else dataset.features
    if any(map(is_image, features.values())):
        return dataset
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {*parameters, *_LABEL_FIELDS, *BATCH_EXTRAS}
    unused = [
        name
        for name, feature in features.items()
        if name not in known and not (takes_any and _is_numeric(feature))
    ]
    if unused:
        logger.info(
            "Columns that %s does not take are left out: %s.", type(model).__name__, ", ".join(unused)
        )
    return dataset.remove_columns(unused) if unused else dataset


def _is_numeric(feature: Any) -> bool:
    """Whether a column's values, or the entries of its lists, can be entries of a tensor."""
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    if inner is not None:
        return _is_numeric(inner)
    return getattr(feature, "dtype", "").startswith(("int", "uint", "float", "bool"))


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
