"""The streaming side of `load_noisy_dataset`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import compress
from typing import Any

import datasets

from jal_hf.data.checked_splits import image_feature
from jal_hf.data.columns import choose_splits, find_image_column, find_label_column
from jal_hf.data.dataset_facts import DatasetFacts, NoisyIterableDatasetDict, StreamNoise
from jal_hf.data.labels import IGNORE_INDEX, TRUTHS, is_no_label
from jal_hf.data.noisy_labels import is_noise_known, resolved_noise
from jal_hf.data.readers.source import Source
from jal_hf.noise import LabelNoise, add_label_noise
from jal_hf.noise.stream import in_order

_BLOCK = 32


def load_stream(
    source: Source,
    *,
    train_split: str | None,
    eval_split: str | None,
    image_column: str | None,
    label_column: str | None,
    num_classes: int | None,
    noise: LabelNoise | str | None,
    noise_seed: int,
    max_train_samples: int | None,
    max_eval_samples: int | None,
    can_count: bool,
    unlabelled: str,
) -> NoisyIterableDatasetDict:
    """Streams with labels as class ids, row numbers in a column `index`, and noise on the training rows.

    Args:
        source: splits as `IterableDataset`.
        train_split: as in `load_noisy_dataset`.
        eval_split: the same.
        image_column: the same.
        label_column: the same.
        num_classes: number of classes where the stream does not name them.
        noise: one whose rows are independent (`mode=iid`).
        noise_seed: seed of the noise.
        max_train_samples: take this many rows from the start.
        max_eval_samples: the same.
        can_count: the source is local and ends, so one pass over its labels may find the classes.
        unlabelled: `error` or `drop`, for rows without a label.

    Raises:
        ValueError: columns or classes cannot be told, or the noise needs all labels at once.
    """
    train_name, eval_name = choose_splits(
        list(source.splits), train_split or source.train_split, eval_split or source.eval_split
    )
    for name, count in (("training", max_train_samples), ("evaluation", max_eval_samples)):
        if count is not None and count < 1:
            raise ValueError(
                f"The number of {name} samples must be at least 1, not {count}; leave it out to take all."
            )
    train = with_features(source.splits[train_name], train_name)
    image_column = find_image_column(train.features, image_column)
    label_column = find_label_column(train.features, label_column)
    names = class_names_of_stream(train, train_name, label_column, num_classes, can_count)
    splits = {
        "train": numbered_stream(
            train, train_name, image_column, label_column, names, unlabelled, is_weighted=True
        )
    }
    if eval_name is not None:
        test = with_features(source.splits[eval_name], eval_name)
        splits["test"] = numbered_stream(test, eval_name, image_column, label_column, names, unlabelled)
        if max_eval_samples is not None:
            splits["test"] = splits["test"].take(max_eval_samples)
    if max_train_samples is not None:
        splits["train"] = splits["train"].take(max_train_samples)
    model = resolved_noise(noise, names)
    if model.kind != "none":
        splits["train"] = add_label_noise(
            splits["train"], model, label_column=label_column, seed=noise_seed, index_column="index"
        )
    matrix = model.transition_matrix()
    report = StreamNoise(
        model.spec,
        model.kind,
        noise_seed,
        model.mode,
        model.rate,
        None if matrix is None else matrix.tolist(),
    )
    facts = DatasetFacts(
        name=source.name,
        image_column=image_column,
        label_column=label_column,
        class_names=tuple(names),
        noise_report=report,
        fingerprint="",
        skipped_images=source.missing_images,
        warnings=source.warnings,
        noise_known=is_noise_known(source.name, noise, report.kind, "clean_label" in train.features),
        folder=source.folder,
    )
    return NoisyIterableDatasetDict(splits, facts)


def with_features(stream: Any, split_name: str) -> datasets.IterableDataset:
    """The stream with its columns known; where it does not say them, its first rows are looked at.

    Raises:
        ValueError: it has no rows.
    """
    if not isinstance(stream, datasets.IterableDataset):
        stream = stream.to_iterable_dataset()
    if stream.features is not None:
        return stream
    first = next(iter(stream.take(1)), None)
    if first is None:
        raise ValueError(f"The split {split_name!r} is empty.")
    features = stream.take(64)._resolve_features().features
    return stream.cast(features)


def class_names_of_stream(
    train: datasets.IterableDataset,
    split_name: str,
    label_column: str,
    num_classes: int | None,
    can_count: bool,
) -> list[str]:
    """Class names of a stream: those of a ClassLabel or of booleans, else numbers up to `num_classes`, else by a pass.

    Raises:
        ValueError: nothing tells the classes, or a pass that is not allowed would have to.
    """
    feature = train.features[label_column]
    if isinstance(feature, datasets.ClassLabel) and feature.names:
        return list(feature.names)
    if feature == datasets.Value("bool"):
        return list(TRUTHS)
    is_text = isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")
    if num_classes is not None and not is_text:
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; training a classifier needs at least two.")
        return [str(number) for number in range(num_classes)]
    if not can_count:
        wanted = "its label column must be a ClassLabel" if is_text else "give num_classes"
        raise ValueError(
            f"The stream does not say which classes its column {label_column!r} holds; {wanted}, or load it "
            "without streaming."
        )
    seen: set[Any] = set()
    for batch in train.select_columns([label_column]).iter(batch_size=1000):
        seen.update(label for label in batch[label_column] if not is_no_label(label))
    if len(seen) < 2:
        raise ValueError(
            f"Split {split_name!r} has rows of {len(seen)} class(es); a classifier needs at least two."
        )
    if is_text:
        return sorted(seen)
    if not all(isinstance(label, int) for label in seen):
        raise ValueError(
            f"The label column {label_column!r} holds {feature}; labels must be integers or strings."
        )
    count = max(seen) + 1
    if count > max(2 * len(seen), 1000):
        raise ValueError(
            f"The labels reach {count - 1} but only {len(seen)} differ; renumber them from 0 to K-1."
        )
    return [str(number) for number in range(count)]


def numbered_stream(
    stream: datasets.IterableDataset,
    split_name: str,
    image_column: str,
    label_column: str | None,
    names: Sequence[str],
    unlabelled: str = "error",
    *,
    is_weighted: bool = False,
) -> datasets.IterableDataset:
    """The stream with encoded images, labels as ids of `names`, and row numbers in a column `index`.

    `clean_label`, where there is one, comes as ids too, -100 in rows without it.

    Args:
        stream: rows whose columns are known.
        split_name: for messages.
        image_column: name of the images.
        label_column: name of the labels; None leaves them out.
        names: class names in the order of their ids.
        unlabelled: `drop` leaves rows without a label out; `error` refuses them as they come.
        is_weighted: keep the column `sample_weight`.

    Raises:
        ValueError: a column is absent or holds no images.
    """
    for column in (image_column, label_column):
        if column is not None and column not in stream.features:
            raise ValueError(
                f"Split {split_name!r} has no column {column!r}; it has {', '.join(stream.features)}."
            )
    image_feature(stream.features[image_column], image_column, split_name)
    labels = () if label_column is None else dict.fromkeys((label_column, "clean_label"))
    classes = [name for name in labels if name in stream.features]
    kept = [image_column, *classes]
    if is_weighted and "sample_weight" in stream.features:
        kept.append("sample_weight")
    index = stream.features.get("index")
    if isinstance(index, datasets.Value) and index.dtype.startswith(("int", "uint")):
        kept.append("index")
    else:
        stream = in_order(stream)
    stream = stream.select_columns(kept).cast_column(image_column, datasets.Image(decode=False))
    features = datasets.Features({name: stream.features[name] for name in kept})
    features |= dict.fromkeys(classes, datasets.ClassLabel(names=list(names)))
    if "sample_weight" in kept:
        features["sample_weight"] = datasets.Value("float32")
    features["index"] = datasets.Value("int64")
    convert = functools.partial(
        _convert,
        split_name=split_name,
        label_column=label_column,
        names=tuple(names),
        own={name: _own_names(stream.features[name]) for name in classes},
        drop=unlabelled == "drop",
    )
    return stream.map(convert, batched=True, batch_size=_BLOCK, with_indices=True, features=features)


def _own_names(feature: Any) -> tuple[str, ...]:
    if feature == datasets.Value("bool"):
        return TRUTHS
    return tuple(feature.names or ()) if isinstance(feature, datasets.ClassLabel) else ()


def _convert(
    batch: dict[str, list[Any]],
    rows: list[int],
    *,
    split_name: str,
    label_column: str | None,
    names: tuple[str, ...],
    own: dict[str, tuple[str, ...]],
    drop: bool,
) -> dict[str, list[Any]]:
    """Labels as checked ids, checked weights, and the row numbers: the stream's own column `index`, else counted.

    `own` holds, for each column of labels, the names that its numbers stand for, as far as it tells any.
    """
    batch = {**batch, "index": list(batch.get("index") or rows)}
    if drop and label_column is not None:
        kept = [not is_no_label(label) for label in batch[label_column]]
        batch = {name: list(compress(values, kept)) for name, values in batch.items()}
    rows = batch["index"]
    for column, told in own.items():
        is_clean = column != label_column
        values = [IGNORE_INDEX if value is None and is_clean else value for value in batch[column]]
        word = column if is_clean else "label"
        batch[column] = _class_ids(values, rows, f"of split {split_name!r} has the {word}", told, names)
    for row, weight in zip(rows, batch.get("sample_weight", [1] * len(rows)), strict=True):
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ValueError(
                f"Row {row} of split {split_name!r} has the sample_weight {weight!r}; a weight is a finite number of "
                "at least 0."
            )
    return batch


def _class_ids(
    values: list[Any], rows: list[int], what: str, own: tuple[str, ...], names: tuple[str, ...]
) -> list[int]:
    """Ids of `names` from texts, booleans, and numbers, which stand for `own` where the column tells those."""
    ids = {name: number for number, name in enumerate(names)}
    labels = []
    for row, label in zip(rows, values, strict=True):
        if isinstance(label, int) and 0 <= label < len(own):
            label = own[label]
        if isinstance(label, str):
            label = ids.get(label, label)
        is_id = isinstance(label, int) and not isinstance(label, bool)
        if not is_id or not (0 <= label < len(names) or label == IGNORE_INDEX):
            raise ValueError(
                f"Row {row} {what} {label!r}; a label is a class id in [0, {len(names)}) or the name of a class."
            )
        labels.append(label)
    return labels
