"""`add_label_noise`: wrong labels for a datasets.Dataset, DatasetDict or stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any, TypeVar

from datasets import (
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    concatenate_datasets,
)
from datasets.fingerprint import Hasher

from jal_hf.ground.sentences import did_you_mean
from jal_hf.noise.base import LabelNoise
from jal_hf.noise.columns import CLEAN_COLUMN, check_columns, class_names_of, id_vector, label_vector
from jal_hf.noise.image_encoder import ImageSettings
from jal_hf.noise.image_features import dataset_features, image_column_of
from jal_hf.noise.image_hashes import image_hashes
from jal_hf.noise.keyed import check_seed
from jal_hf.noise.registry import create_noise, noise_info, parse_noise_spec
from jal_hf.noise.stream import add_to_stream

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

_DRAW_VERSION = 2  # raised when a draw changes, so that no older cache is read


def add_label_noise(
    dataset: AnyDataset,
    noise: LabelNoise | str,
    label_column: str = "label",
    seed: int = 0,
    index_column: str | None = None,
    *,
    splits: Sequence[str] = ("train",),
    features: Any = None,
    image_column: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | None = None,
    num_proc: int | None = None,
    batch_size: int = 1000,
) -> AnyDataset:
    """Replace labels by noisy ones and keep the clean ones in a new column `clean_label`.

    With `mode=iid` the draw of a row depends on (seed, its id, its clean label) alone, for `idn` and `pdn` on its image
    too. The default, `mode=exact`, meets its counts over the rows given: a draw then depends on which rows those are,
    not on their order, so that a part, a filter or a shard drawn on its own has other wrong labels than within the
    whole. Take `mode=iid` there, with `index_column`, or add the noise first.
    A draw is cached by datasets: a second call with the same arguments reads it back. Images are not copied, unless
    the dataset was shuffled or selected from, when datasets rewrites the rows in their new order.

    Args:
        dataset: Rows with integer labels. Of a dict only `splits` get noise.
        noise: A noise, or a spec, for which the label column must be a ClassLabel; of plain integers give
            `create_noise(spec, num_classes=K)`.
        label_column: The column to change; its feature stays, and `clean_label` gets the same.
        seed: Names the draw.
        index_column: Integers or strings that name the rows; None takes the row number. A stream is then read as one
            shard and in one order at every epoch, to be shuffled and split afterwards.
        splits: Which splits of a dict get noise; one may be given as a string.
        features: For `idn` and `pdn`, an (N, D) array to use instead of the images.
        image_column: The images `idn` and `pdn` look at; None takes the only column of images.
        mean: Channel means of the images in [0, 1]; None takes the published ones of MNIST, CIFAR-10 and
            CIFAR-100 where the class names are theirs, else 0.5.
        std: Channel deviations, likewise.
        image_size: Side in pixels to which `idn` and `pdn` resize the images; None asks for one size.
        num_proc: How many images are decoded at once. Changes no label.
        batch_size: Rows that a stream corrupts at once. Changes no label.

    Raises:
        ValueError: A column or split is absent, `clean_label` is there already, labels are out of range or
            missing, or the noise cannot be drawn from a stream.
        TypeError: Labels are not integers, or `mean` or `std` no lists of numbers.
    """
    check_seed(seed)
    settings = ImageSettings(image_column, mean, std, image_size, num_proc)
    if isinstance(dataset, DatasetDict | IterableDatasetDict):
        chosen = (splits,) if isinstance(splits, str) else tuple(splits)
        for split in chosen:
            if split not in dataset:
                there = ", ".join(dataset)
                raise ValueError(
                    f"There is no split {split!r}.{did_you_mean(split, dataset)} There are {there}."
                )
        changed = dict(dataset)
        for split in chosen:
            changed[split] = _add(
                dataset[split], noise, label_column, seed, index_column, features, settings, batch_size
            )
        # The plain kind of dict: a subclass may describe the labels as they were before.
        kind = DatasetDict if isinstance(dataset, DatasetDict) else IterableDatasetDict
        return kind(changed)
    if not isinstance(dataset, Dataset | IterableDataset):
        raise TypeError(
            f"Label noise goes into a datasets.Dataset or DatasetDict, not {type(dataset).__name__}."
        )
    return _add(dataset, noise, label_column, seed, index_column, features, settings, batch_size)


def _add(
    dataset: Any,
    noise: LabelNoise | str,
    label_column: str,
    seed: int,
    index_column: str | None,
    features: Any,
    settings: ImageSettings,
    batch_size: int,
) -> Any:
    check_columns(dataset.column_names, label_column, index_column)
    names = class_names_of(dataset.features, label_column)
    if isinstance(noise, str):
        if names is None and noise_info(parse_noise_spec(noise).kind).needs_classes:
            raise ValueError(
                f"The column {label_column!r} is no ClassLabel, so the number of classes is unknown; as the noise give "
                f"create_noise({noise!r}, num_classes=K), or make it one by "
                f"dataset.class_encode_column({label_column!r})."
            )
        noise = create_noise(noise, None if names is None else len(names), names)
    if isinstance(dataset, IterableDataset):
        if features is not None:
            raise ValueError("A stream cannot take features, as its rows are not known yet; leave them out.")
        return add_to_stream(dataset, noise, label_column, seed, index_column, settings, batch_size)
    if len(dataset) == 0:
        raise ValueError("The dataset has no rows, so there are no labels to change.")
    clean = label_vector(dataset, label_column)
    index = id_vector(dataset, index_column)
    looked_at = (
        (astuple(replace(settings, num_proc=None)), names or noise.class_names)
        if features is None
        else features
    )
    if noise.needs_features and features is None:
        features = dataset_features(dataset, settings, names or noise.class_names)

    def draw(_: Mapping[str, Any]) -> dict[str, Any]:
        if noise.image_hashes is not None:
            column = image_column_of(dataset.features, settings.image_column)
            noise.check_images(image_hashes(dataset, column), index)
        return {label_column: noise.corrupt(clean, seed, index, features), CLEAN_COLUMN: clean}

    fingerprint = Hasher.hash(
        [
            *("jal_hf.noise", _DRAW_VERSION, dataset._fingerprint, noise.identity, noise.num_classes, seed),
            *(label_column, index_column),
            looked_at if noise.needs_features else None,
        ]
    )
    return _replace_labels(dataset, label_column, draw, fingerprint, f"Drawing {noise.kind} labels")


def _replace_labels(dataset: Dataset, label_column: str, draw: Any, fingerprint: str, title: str) -> Dataset:
    """Put the drawn pair of columns in place of the labels, without rewriting any other column."""
    feature, columns, style = dataset.features[label_column], dataset.column_names, dataset.format
    plain = dataset.with_format(None)
    pair = plain.select_columns([label_column]).map(
        draw,
        batched=True,
        batch_size=None,  # one call: exact counts need all rows
        features=Features({label_column: feature, CLEAN_COLUMN: feature}),
        new_fingerprint=fingerprint,
        desc=title,
    )
    rest = plain.remove_columns([label_column])
    joined = concatenate_datasets([rest, pair], axis=1, split=dataset.split) if rest.column_names else pair
    joined = joined.select_columns([*columns, CLEAN_COLUMN])
    if style["type"] is not None:
        shown = [*style["columns"], CLEAN_COLUMN]
        joined.set_format(style["type"], shown, style["output_all_columns"], **style["format_kwargs"])
    return joined
