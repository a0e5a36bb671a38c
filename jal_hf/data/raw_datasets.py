"""Raw Hugging Face datasets made ready for a model, wherever a trainer takes data."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import torch

from jal_hf.data.checked_splits import checked_split
from jal_hf.data.columns import find_image_column, find_label_column, is_encoded_image
from jal_hf.data.images.augmentation import check_augment
from jal_hf.data.images.image_dataset import make_image_dataset
from jal_hf.data.labels import TRUTHS, check_num_classes, read_labels, unlabelled_rows
from jal_hf.data.stream_loading import class_names_of_stream, numbered_stream, with_features

logger = logging.getLogger(__name__)

_PLACEHOLDER = re.compile(r"LABEL_\d+")


def prepare_dataset(
    dataset: Any,
    preprocessing: Mapping[str, Any] | None,
    *,
    train: bool,
    augment: str = "none",
    seed: int = 0,
    label_column: str | None = None,
    image_column: str | None = None,
    class_names: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    on_bad_image: str = "error",
) -> Any:
    """Torch dataset of ready batches from a raw dataset of images; anything else comes back as it is.

    Left alone: torch datasets, datasets with a transform of their own (`set_transform`), datasets without images
    (tokenized text), None, and all of them when the model does not say how images are prepared.

    Args:
        dataset: `Dataset`, `IterableDataset`, or, for evaluation, a dict of splits, which gives a dict.
        preprocessing: `input_size` (C, H, W) in pixels, `mean` and `std` of pixels in [0, 1], as in a model's
            `pretrained_cfg`.
        train: whether rows are for training: augmented, shuffled where they stream, labels needed.
        augment: training augmentation; see `make_image_dataset`.
        seed: first key of the draws.
        label_column: default: found by type and usual names; without one, rows for prediction have no `labels`.
        image_column: default: found by type and usual names.
        class_names: of the model, in the order of its outputs; labels of the same names are carried over, and
            numbers must lie below their count. Placeholders (`LABEL_0`, ...) only count: beside them, texts are
            numbered in training, in the order of `training_names`, and refused elsewhere.
        device: small images are kept and augmented there when they fit.
        on_bad_image: for streams, `skip` leaves unreadable images out and counts them.

    Raises:
        ValueError: no label column in training, unclear columns, wrong labels, more classes than outputs, texts to
            evaluate beside placeholders, or a dict of splits to train on.
    """
    check_augment(augment)
    if isinstance(dataset, Mapping):
        if train:
            raise ValueError(
                f"The training dataset is a dict of splits ({', '.join(map(str, dataset))}); give one of them, such "
                "as dataset['train']."
            )
        prepare_split = functools.partial(
            prepare_dataset,
            preprocessing=preprocessing,
            train=False,
            augment=augment,
            seed=seed,
            label_column=label_column,
            image_column=image_column,
            class_names=class_names,
            device=device,
            on_bad_image=on_bad_image,
        )
        return {name: prepare_split(split) for name, split in dataset.items()}
    if not preprocessing or (raw := _raw_images(dataset, image_column)) is None:
        return dataset
    dataset = raw
    images = find_image_column(dataset.features, image_column)
    labels = find_label_column(dataset.features, label_column, is_needed=train)
    if train and augment == "none":
        logger.info("Training without augmentation: images are only scaled, cropped and normalised.")
    prepare = _prepared_stream if isinstance(dataset, datasets.IterableDataset) else _prepared_rows
    split, labels = prepare(dataset, images, labels, class_names, train)
    channels, _, size = preprocessing["input_size"]
    return make_image_dataset(
        split,
        image_column=images,
        label_column=labels,
        image_size=size,
        in_chans=channels,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        augment=augment,
        train=train,
        seed=seed,
        device=device,
        on_bad_image=on_bad_image,
    )


def training_names(
    dataset: Any,
    preprocessing: Mapping[str, Any] | None,
    *,
    label_column: str | None = None,
    image_column: str | None = None,
) -> list[str] | None:
    """Names that the labels of a training dataset give to the classes, in the order of their ids.

    None where the labels are plain numbers, and where `prepare_dataset` leaves the dataset alone or must refuse it.

    Args:
        dataset: as in `prepare_dataset`, for training.
        preprocessing: the same.
        label_column: the same.
        image_column: the same.

    Raises:
        ValueError: unclear columns, or texts that are no names of classes.
    """
    if not preprocessing or (raw := _raw_images(dataset, image_column)) is None:
        return None
    dataset = raw
    labels = find_label_column(dataset.features, label_column)
    feature = dataset.features[labels]
    if isinstance(feature, datasets.ClassLabel):
        return list(feature.names or ()) or None
    if feature == datasets.Value("bool"):
        return list(TRUTHS)
    if isinstance(dataset, datasets.IterableDataset) or not _is_text(feature):
        return None
    return read_labels(dataset, labels, str(dataset.split or "given"))[1]


def are_placeholders(class_names: Sequence[str]) -> bool:
    """Whether a model's names of its classes (`LABEL_0`, ...) say nothing but their numbers."""
    return all(map(_PLACEHOLDER.fullmatch, class_names))


def is_raw(dataset: Any) -> bool:
    """Whether it is a dataset of `datasets` whose rows come as they are stored, or a stream."""
    if isinstance(dataset, datasets.IterableDataset):
        return True
    return isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"


def _raw_images(dataset: Any, image_column: str | None) -> Any:
    """A dataset of images with known columns, or None where it is no such."""
    if not is_raw(dataset):
        return None
    if isinstance(dataset, datasets.IterableDataset):
        dataset = with_features(dataset, "given")
    has_images = image_column is not None or any(map(is_image, dataset.features.values()))
    return dataset if has_images else None


def is_image(feature: Any) -> bool:
    """Whether a column holds images, decoded or encoded."""
    return isinstance(feature, datasets.Image) or (isinstance(feature, dict) and is_encoded_image(feature))


def _is_text(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _prepared_rows(
    split: datasets.Dataset,
    image_column: str,
    label_column: str | None,
    class_names: Sequence[str] | None,
    train: bool,
) -> tuple[datasets.Dataset, str | None]:
    if label_column is not None and not train and unlabelled_rows(split, label_column).all():
        label_column = None
    name = str(split.split or "given")
    names = _names_for(split.features, label_column, class_names, train)
    warnings: list[str] = []
    split, found = checked_split(split, name, image_column, label_column, names, warnings)
    for warning in warnings:
        logger.warning(warning)
    if class_names is not None:
        check_num_classes(found, len(class_names))
    return split, label_column


def _prepared_stream(
    stream: datasets.IterableDataset,
    image_column: str,
    label_column: str | None,
    class_names: Sequence[str] | None,
    train: bool,
) -> tuple[datasets.IterableDataset, str | None]:
    names = _names_for(stream.features, label_column, class_names, train)
    if label_column is not None and names is None:
        count = None if class_names is None else len(class_names)
        names = class_names_of_stream(stream, "given", label_column, count, can_count=False)
    if class_names is not None:
        check_num_classes(names or (), len(class_names))
    stream = numbered_stream(stream, "given", image_column, label_column, names or (), is_weighted=train)
    return stream, label_column


def _names_for(
    features: datasets.Features, label_column: str | None, class_names: Sequence[str] | None, train: bool
) -> list[str] | None:
    """The names that the labels' ids stand for; None where the column must tell them."""
    if label_column is None or class_names is None:
        return None
    feature = features[label_column]
    own = list(feature.names or ()) if isinstance(feature, datasets.ClassLabel) else []
    if own and not set(own) & set(class_names):
        # Other names altogether, so only the numbers can be meant.
        return own
    if not _is_text(feature) or not are_placeholders(class_names):
        return list(class_names)
    if train:
        return None
    raise ValueError(
        f"The column {label_column!r} names classes by text, and the model's are called {class_names[0]} and so on, "
        "so no text tells a class; create the model with class_names, train it on labels that are such texts, or "
        "give class ids."
    )
