"""`load_noisy_dataset`: from a name to checked splits with noise on the training labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets

from jal_hf.data.checked_splits import (
    check_unlabelled,
    checked_split,
    labelled_rows,
    numbered_rows,
    with_index_from,
)
from jal_hf.data.column_values import integer_column
from jal_hf.data.columns import (
    choose_splits,
    find_image_column,
    find_label_column,
    find_validation_split,
)
from jal_hf.data.dataset_facts import DatasetFacts, NoisyDatasetDict, NoisyIterableDatasetDict
from jal_hf.data.duplicates import find_duplicates
from jal_hf.data.fingerprint import dataset_fingerprint
from jal_hf.data.images.unreadable_images import without_unreadable
from jal_hf.data.labels import label_warnings
from jal_hf.data.noisy_labels import check_noise, is_noise_known, put_noise, resolved_noise
from jal_hf.data.readers.dataset_forms import can_count_labels, read_source
from jal_hf.data.readers.source import ReadOptions
from jal_hf.data.stream_loading import load_stream
from jal_hf.data.subsets import check_fraction, cut_validation, take_subset
from jal_hf.noise import LabelNoise


def load_noisy_dataset(
    dataset: str | Path | Any,
    *,
    dataset_config: str | None = None,
    train_split: str | None = None,
    eval_split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    num_classes: int | None = None,
    noise: LabelNoise | str | None = None,
    noise_seed: int = 0,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    val_fraction: float = 0.0,
    own_validation: bool = False,
    streaming: bool = False,
    on_bad_image: str = "error",
    unlabelled: str = "error",
    seed: int = 0,
) -> NoisyDatasetDict | NoisyIterableDatasetDict:
    """Load a dataset, check its labels in one pass, and put label noise on the training split.

    In order: subset by `max_train_samples`, noise, then the validation split cut from the noisy training
    rows. The test split is never touched by noise. A column `index` keeps each row's original number, which
    keys the noise, the subset and the augmentation, so none of them depends on the others.

    Args:
        dataset: `digits`, Hub id, local folder or file, `webvision:FOLDER`, `clothing1m:FOLDER`, tar shards,
            or a Hugging Face dataset object. A table (CSV, TSV, JSON lines, parquet) may name image files: from its
            own folder, or by absolute paths.
        dataset_config: configuration of a Hub dataset.
        train_split: split to train on; default `train`.
        eval_split: split to test on; default `test`, else a validation split.
        image_column: default: found by type and usual names.
        label_column: the same.
        num_classes: only for streams whose classes cannot be counted.
        noise: a spec or an object of `create_noise`; None or `none` adds nothing. Labels that came noisy (with
            `clean_label`) are used as they are.
        noise_seed: seed of the noise.
        max_train_samples: number of training rows, drawn by `seed`.
        max_eval_samples: number of test rows, drawn by `seed`.
        val_fraction: share of the training rows for `validation`, stratified by noisy label; equal images together.
        own_validation: take the data's own validation split, where it stands beside a test split, labels as they are,
            in place of rows cut from training.
        streaming: give iterable datasets.
        on_bad_image: `error`, or `skip` to drop and count unreadable images (at most 5 %).
        unlabelled: `error`, or `drop` to leave out and count rows whose label is empty or -1.
        seed: seed of subset and validation split.

    Returns:
        A dict with `train`, and `test` and `validation` where there are such (and `ilsvrc12` for WebVision); its
        facts are attributes.

    Raises:
        ValueError: anything about the data or the arguments that would spoil training; rows and columns are
            named.
        FileNotFoundError: no such dataset.
    """
    check_fraction(val_fraction)
    check_noise(noise)
    if on_bad_image not in ("error", "skip"):
        raise ValueError(f"on_bad_image is 'error' or 'skip', not {on_bad_image!r}.")
    check_unlabelled(unlabelled)
    options = ReadOptions(
        dataset_config, streaming, num_classes, on_bad_image, image_column, label_column=label_column
    )
    source = read_source(dataset, options)
    if any(isinstance(split, datasets.IterableDataset) for split in source.splits.values()):
        if val_fraction:
            raise ValueError(
                "A stream has no known length to cut val_fraction from; load it without streaming."
            )
        return load_stream(
            source, train_split=train_split, eval_split=eval_split, image_column=image_column,
            label_column=label_column, num_classes=num_classes, noise=noise, noise_seed=noise_seed,
            max_train_samples=max_train_samples, max_eval_samples=max_eval_samples,
            can_count=can_count_labels(dataset), unlabelled=unlabelled,
        )  # fmt: skip
    train_name, eval_name = choose_splits(
        list(source.splits), train_split or source.train_split, eval_split or source.eval_split
    )
    raw_train, raw_test = source.splits[train_name], source.splits[eval_name] if eval_name else None
    image_column = find_image_column(raw_train.features, image_column)
    label_column = find_label_column(raw_train.features, label_column)
    warnings = list(source.warnings)
    raw_train, unlabelled_count = labelled_rows(raw_train, train_name, label_column, unlabelled, warnings)
    if unlabelled_count and len(raw_train) == 0:
        raise ValueError(f"No row of split {train_name!r} has a label in {label_column!r}.")
    train, names = checked_split(raw_train, train_name, image_column, label_column, None, warnings)
    warnings += label_warnings(integer_column(train, label_column), names, train_name)
    splits: dict[str, datasets.Dataset] = {}
    skipped = source.missing_images
    if on_bad_image == "skip":
        train, count = without_unreadable(train, image_column, train_name)
        skipped += count
    rows = numbered_rows(source.splits, train_name) if isinstance(noise, str) else None
    if rows is not None:
        resolved_noise(noise, names).check_rows(rows)
    train = take_subset(train, max_train_samples, seed, "training")
    given = train
    train, report = put_noise(train, label_column, names, noise, noise_seed, source.manifest, warnings)
    splits["train"] = train
    if raw_test is not None:
        raw_test, count = labelled_rows(raw_test, str(eval_name), label_column, unlabelled, warnings)
        unlabelled_count += count
    if raw_test is not None and (len(raw_test) > 0 or not count):
        test, _ = checked_split(raw_test, str(eval_name), image_column, label_column, names, warnings)
        if on_bad_image == "skip":
            test, count = without_unreadable(test, image_column, str(eval_name))
            skipped += count
        splits["test"] = take_subset(test, max_eval_samples, seed, "evaluation")
    tests = {str(eval_name): splits["test"]} if "test" in splits else {}
    duplicates = find_duplicates({train_name: given, **tests}, image_column, label_column)
    warnings += duplicates.sentences()
    held_name = None
    if own_validation and eval_name is not None:
        held_name = find_validation_split(list(source.splits), [train_name, eval_name])
    own_validation = held_name is not None
    if held_name is not None:
        held, count = labelled_rows(source.splits[held_name], held_name, label_column, unlabelled, warnings)
        unlabelled_count += count
        held, _ = checked_split(held, held_name, image_column, label_column, names, warnings)
        if on_bad_image == "skip":
            held, count = without_unreadable(held, image_column, held_name)
            skipped += count
        validation = with_index_from(held, 1 + int(integer_column(given, "index").max()))
    else:
        splits["train"], validation = cut_validation(
            train, label_column, val_fraction, seed, duplicates.groups[train_name]
        )
    for extra in source.more_tests:
        if extra != eval_name:
            split, _ = checked_split(source.splits[extra], extra, image_column, label_column, names, warnings)
            splits[extra] = take_subset(split, max_eval_samples, seed, "evaluation")
    if validation is not None:
        splits["validation"] = validation
    fingerprint = dataset_fingerprint(
        [train, *([splits["test"]] if "test" in splits else [])], image_column, label_column, names
    )
    facts = DatasetFacts(
        name=source.name,
        image_column=image_column,
        label_column=label_column,
        class_names=tuple(names),
        noise_report=report,
        fingerprint=fingerprint,
        skipped_images=skipped,
        warnings=tuple(warnings),
        noise_known=is_noise_known(source.name, noise, report.kind, "clean_label" in train.column_names),
        unlabelled_rows=unlabelled_count,
        shared_rows=sum(duplicates.shared.values()),
        contradicting_rows=duplicates.contradicting,
        own_validation=own_validation,
        folder=source.folder,
        layout=source.layout,
    )
    return NoisyDatasetDict(splits, facts)
