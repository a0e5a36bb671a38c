"""Labelled text: a table, a Hub id or a dataset object as checked splits, with the facts that images have too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from jal_hf.data.checked_splits import check_unlabelled, labelled_rows, with_clean_labels, with_index_from
from jal_hf.data.column_values import integer_column, row_numbers, without_columns
from jal_hf.data.columns import (
    TEXT_NAMES,
    choose_splits,
    find_label_column,
    find_validation_split,
    text_columns,
)
from jal_hf.data.dataset_facts import DatasetFacts, NoisyDatasetDict
from jal_hf.data.labels import label_warnings, read_labels
from jal_hf.data.noisy_labels import is_noise_known, put_noise
from jal_hf.data.readers.dataset_forms import read_source
from jal_hf.data.readers.loaded import load_files
from jal_hf.data.readers.source import ReadOptions
from jal_hf.data.row_weights import read_weights
from jal_hf.data.subsets import cut_validation, take_subset
from jal_hf.ground.sentences import listed

OWN_INDEX = "index of the data"
"""The column `index` that a table of texts brings along, which need not number its rows."""


def load_text_dataset(
    dataset: str | Path | Any,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    dataset_config: str | None = None,
    train_split: str | None = None,
    eval_split: str | None = None,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    val_fraction: float = 0.0,
    own_validation: bool = False,
    unlabelled: str = "error",
    seed: int = 0,
) -> NoisyDatasetDict:
    """Load labelled text; labels are taken as they are, rows without text are left out and counted.

    Args:
        dataset: CSV, TSV, JSON lines or parquet file, a folder of such named after splits, a Hub id, or a dataset.
        text_column: default: the only column of text beside the labels, or one of a usual name.
        label_column: default: found by type and usual names.
        dataset_config: configuration of a Hub dataset.
        train_split: split to train on; default `train`.
        eval_split: split to test on; default `test`, else a validation split.
        max_train_samples: number of training rows, drawn by `seed`.
        max_eval_samples: number of test rows, drawn by `seed`.
        val_fraction: share of the training rows for `validation`; equal texts stay on one side.
        own_validation: take the data's own validation split, where it stands beside a test split, in place of rows
            cut from training.
        unlabelled: `error`, or `drop` to leave out and count rows whose label is empty or -1.
        seed: of the draws.

    Returns:
        `train`, `validation` and `test` as far as there are such, with `text`, `label`, `index`, `sample_weight` where
        the source has it, and the plain columns that all of its splits have; of these `index` as `OWN_INDEX`, since
        `index` numbers the rows.

    Raises:
        ValueError: columns that are unclear, or labels that cannot be trained on.
        FileNotFoundError: no such dataset.
    """
    check_unlabelled(unlabelled)
    source = read_source(dataset, ReadOptions(dataset_config, has_images=False, label_column=label_column))
    train_name, eval_name = choose_splits(
        list(source.splits), train_split or source.train_split, eval_split or source.eval_split
    )
    held_name = None
    if own_validation and eval_name is not None:
        held_name = find_validation_split(list(source.splits), [train_name, eval_name])
    warnings = list(source.warnings)
    label = find_label_column(source.splits[train_name].features, label_column)
    text = _text_column(source.splits[train_name].features, text_column, label)
    used = [name for name in (train_name, eval_name, held_name) if name is not None]
    given = {
        name: rows.rename_column("index", OWN_INDEX) if "index" in rows.column_names else rows
        for name, rows in source.splits.items()
        if name in used
    }
    others = _other_columns([given[name].features for name in used], text, label)
    splits: dict[str, datasets.Dataset] = {}
    names: list[str] | None = None
    empty = unlabelled_count = 0
    for split, kept, most in (
        ("train", train_name, max_train_samples),
        ("test", eval_name, max_eval_samples),
        ("validation", held_name, None),
    ):
        if kept is None:
            continue
        rows = given[kept]
        rows = rows.select_columns(
            [name for name in rows.column_names if name in (text, label, "sample_weight", *others)]
        )
        rows, count = labelled_rows(rows, kept, label, unlabelled, warnings)
        unlabelled_count += count
        if count and len(rows) == 0 and split != "train":
            continue
        labels, names = read_labels(rows, label, kept, names)
        texts = [str(value or "").strip() for value in rows[text]]
        full = np.array([bool(value) for value in texts])
        empty += int((~full).sum())
        made = datasets.Dataset.from_dict({"text": texts, "label": labels, "index": row_numbers(rows)})
        made = made.cast_column("label", datasets.ClassLabel(names=names))
        weights = read_weights(rows, kept)
        if weights is not None:
            made = made.add_column("sample_weight", weights)
        if others:
            kept_rows = without_columns(rows, [name for name in rows.column_names if name not in others])
            made = datasets.concatenate_datasets([made, kept_rows], axis=1)
        if split != "train" and not full.any():
            continue
        if split == "train":
            if not full.any():
                raise ValueError(f"No row of split {kept!r} has a text in {text!r}.")
            warnings += label_warnings(labels[full], names, kept)
        made = with_clean_labels(made.select(np.flatnonzero(full)), kept, names)
        splits[split] = take_subset(made, most, seed, split)
    train, report = put_noise(splits["train"], "label", names or [], None, seed, None, warnings)
    groups, contradicting = equal_texts(train)
    seen = set(train["text"])
    shared = sum(value in seen for value in splits["test"]["text"]) if "test" in splits else 0
    digest = hashlib.sha256("\n".join([*(names or ()), *train["text"]]).encode())
    digest.update(integer_column(train, "label").tobytes())
    if "validation" in splits:
        first = 1 + int(integer_column(train, "index").max())
        splits["validation"] = with_index_from(splits["validation"], first)
    else:
        splits["train"], held = cut_validation(train, "label", val_fraction, seed, groups)
        if held is not None:
            splits["validation"] = held
    facts = DatasetFacts(
        name=source.name,
        image_column="text",
        label_column="label",
        class_names=tuple(names or ()),
        noise_report=report,
        fingerprint=digest.hexdigest()[:32],
        skipped_images=empty,
        warnings=tuple(warnings),
        noise_known=is_noise_known(source.name, None, report.kind, "clean_label" in train.column_names),
        unlabelled_rows=unlabelled_count,
        shared_rows=shared,
        contradicting_rows=contradicting,
        own_validation=held_name is not None,
    )
    return NoisyDatasetDict(splits, facts)


def table_texts(path: Path, text_column: str | None = None) -> list[str]:
    """The texts of a table by row, without spaces around them; a row without text has an empty one.

    Args:
        path: CSV, TSV, JSON lines or parquet file; it may have labels too.
        text_column: the column, where the table has it; default: as in `load_text_dataset`.

    Raises:
        ValueError: it cannot be read, or its column of texts is unclear.
    """
    rows = load_files(str(path), {"train": path})["train"]
    label = find_label_column(rows.features, is_needed=False)
    asked = text_column if text_column in rows.features else None
    return [str(text or "").strip() for text in rows[_text_column(rows.features, asked, label)][:]]


def equal_texts(split: datasets.Dataset) -> tuple[npt.NDArray[np.int64], int]:
    """A number for each row (N,) that its equals share, -1 where a text stands once, and rows under several labels."""
    texts = split["text"][:]
    numbers = {text: number for number, text in enumerate(sorted(set(texts)))}
    # an array of the texts themselves would be as wide as the longest in every row
    member = np.array([numbers[text] for text in texts], dtype=np.int64)
    counts = np.bincount(member)
    labels = integer_column(split, "label")
    kinds = np.zeros(len(counts), dtype=np.int64)
    pairs = np.unique(np.stack([member, labels]), axis=1)
    np.add.at(kinds, pairs[0], 1)
    return np.where(counts[member] > 1, member, -1), int((kinds[member] > 1).sum())


def _other_columns(splits: Sequence[datasets.Features], text: str, label: str) -> list[str]:
    """Columns of plain values beside those of a text and its label, equal in all splits."""
    taken = {text, label, "text", "label", "sample_weight"}
    return [
        name
        for name, feature in splits[0].items()
        if name not in taken
        and isinstance(feature, datasets.Value | datasets.ClassLabel)
        and all(split.get(name) == feature for split in splits)
    ]


def _text_column(features: datasets.Features, asked: str | None, label_column: str | None) -> str:
    found = text_columns(features, label_column)
    if asked is not None and asked in found:
        return asked
    if asked is None and found and (len(found) == 1 or found[0] in TEXT_NAMES):
        return found[0]
    reason = f"it may be one of {listed(found)}" if found else "no column holds texts"
    if asked is not None:
        reason = f"there is no column of text {asked!r}"
    raise ValueError(
        f"The text column is unclear: {reason}. Columns: {listed(features)}. Name it with text_column."
    )
