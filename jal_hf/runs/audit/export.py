"""A cleaned dataset on disk, in the form that its source has: class folders, a table, or `save_to_disk`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq

from jal_hf.analysis.label_issues import FloatArray, IntArray
from jal_hf.data.column_values import integer_column, with_column, without_columns
from jal_hf.data.images.encoded import encoded_column
from jal_hf.data.readers.image_folder import is_leftover
from jal_hf.data.readers.run_folders import CHANGES
from jal_hf.data.text import OWN_INDEX
from jal_hf.ground.files import check_writable, whole_file
from jal_hf.runs.audit.cleaning import DROPPED, Cleaning

IMAGES = ("images",)
"""Where a table's images are put, under the names that they have in their source."""


def check_empty(folder: Path) -> None:
    """Refuse a folder for an export that holds something, by FileExistsError, or that cannot be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty; name a folder that is, or that is not there yet.")
    check_writable(folder)


def export_cleaned(data: Any, train: datasets.Dataset, cleaning: Cleaning, folder: Path) -> str:
    """Write the training rows as the cleaning says, other splits as they are, and `changes.csv`; returns the form.

    Images in files of their own are copied: `folder` is a whole dataset, and may be edited. Class folders become a
    table where rows have weights, or a class has a name that no folder can have. Classes keep their names and numbers,
    those that lose all their rows too.

    Args:
        data: what `load_noisy_dataset` gave.
        train: its training rows, those held back for validation among them, in the order of the cleaning.
        folder: must be empty or absent.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: no row is left.
    """
    check_empty(folder)
    kept = np.flatnonzero(cleaning.labels != DROPPED)
    if not kept.size:
        raise ValueError(
            "No row would be left: every one is a suspect. Take a smaller --threshold, or --weights."
        )
    weights = None if cleaning.weights is None else cleaning.weights[kept]
    splits = {"train": _labelled(train.select(kept), data, cleaning.labels[kept], weights)}
    for name in ("validation", "test"):
        if name in data and (name == "test" or data.facts.own_validation):
            rows = data[name]
            ones = np.ones(len(rows)) if "sample_weight" in splits["train"].column_names else None
            splits[name] = _labelled(rows, data, integer_column(rows, data.label_column), ones)
    is_text = isinstance(train.features[data.image_column], datasets.Value)
    if not is_text and data.facts.folder is None:
        form = "save_to_disk"
        datasets.DatasetDict(splits).save_to_disk(str(folder))
    elif (
        is_text
        or weights is not None
        or data.facts.layout != "class folders"
        or not all(map(_is_folder_name, data.class_names))
    ):
        form = "table"
        folder.mkdir(parents=True, exist_ok=True)
        if not is_text:
            splits = {name: _with_places(rows, data, folder) for name, rows in splits.items()}
        _write_tables(splits, folder)
    else:
        form = "class folders"
        for name, rows in splits.items():
            for label in data.class_names:
                (folder / name / label).mkdir(parents=True, exist_ok=True)
            labels = [data.class_names[label] for label in integer_column(rows, data.label_column)]
            _copy(_files(rows, data), [(name, label) for label in labels], data, folder)
    cleaning.write_changes(folder / CHANGES, "text" if is_text else "file")
    return form


def _labelled(
    rows: datasets.Dataset, data: Any, labels: IntArray, weights: FloatArray | None
) -> datasets.Dataset:
    """Rows under these labels, their own weights times these; clean labels beside them stay as they are."""
    own = np.asarray(rows["sample_weight"][:]) if "sample_weight" in rows.column_names else None
    parts = [part for part in (own, weights) if part is not None]
    feature = datasets.ClassLabel(names=data.class_names)
    found = with_column(rows, data.label_column, np.asarray(labels, dtype=np.int64), feature)
    if parts:
        product = np.prod(parts, axis=0).astype(np.float32)
        found = with_column(found, "sample_weight", product, datasets.Value("float32"))
    found = without_columns(found, [name for name in ("index",) if name in found.column_names])
    return found.rename_column(OWN_INDEX, "index") if OWN_INDEX in found.column_names else found


def _with_places(rows: datasets.Dataset, data: Any, folder: Path) -> datasets.Dataset:
    """Rows with the ways of their images from `folder`, where they are put, in place of the images."""
    places = _copy(_files(rows, data), [IMAGES] * len(rows), data, folder)
    return with_column(rows, data.image_column, places, datasets.Value("string"))


def _write_tables(splits: Mapping[str, datasets.Dataset], folder: Path) -> None:
    """A parquet file a split, which keeps the names of classes as no text would; tables of one dataset have the same
    columns."""
    tables = list(splits.values())
    names = [
        name
        for name, feature in tables[0].features.items()
        if all(rows.features.get(name) == feature for rows in tables)
    ]
    for split, rows in splits.items():
        chosen = rows.select_columns(names)
        table = chosen.with_format("arrow")[:].cast(chosen.features.arrow_schema)
        with whole_file(folder / f"{split}.parquet") as temporary:
            pq.write_table(table, temporary)


def _is_folder_name(name: str) -> bool:
    """Whether a class can be a folder of that name: one part of a path, which no reader takes for a leftover."""
    is_part = bool(name) and PurePath(name).name == name and not set(name) & {"\\", "\0"}
    return is_part and not is_leftover(name)


def _files(rows: datasets.Dataset, data: Any) -> list[str]:
    column = encoded_column(rows, data.image_column)
    return [str(item["path"]) for item in column[data.image_column]]


def _copy(files: Sequence[str], places: Sequence[tuple[str, ...]], data: Any, folder: Path) -> list[str]:
    """Put each file below `folder/place`, under the name it has below its class; returns the ways from `folder`."""
    base, classes = PurePath(os.path.abspath(data.facts.folder)), set(data.class_names)
    taken: list[str] = []
    for number, (file, place) in enumerate(zip(files, places, strict=True)):
        whole = PurePath(os.path.abspath(file))
        inside = whole.relative_to(base) if whole.is_relative_to(base) else PurePath(whole.name)
        is_class = next((n + 1 for n, part in enumerate(inside.parts[:-1]) if part in classes), None)
        name = PurePath(*inside.parts[is_class or 0 :]) if place != IMAGES else inside
        target = _put(os.path.realpath(file), folder.joinpath(*place, name), number)
        taken.append(target.relative_to(folder).as_posix())
    return taken


def _put(file: str, target: Path, number: int) -> Path:
    """Put a file at `target`, or beside it under a name with the row's number where that one is taken."""
    target.parent.mkdir(parents=True, exist_ok=True)
    place, count = target, 0
    while not _is_put(file, place):
        place = target.with_name("-".join([str(number), *([str(count)] if count else []), target.name]))
        count += 1
    return place


def _is_put(file: str, place: Path) -> bool:
    """Copy a file; False, with nothing written, where the name is taken: that may be another original."""
    try:
        with open(file, "rb") as source, place.open("xb") as copy:
            shutil.copyfileobj(source, copy)
    except FileExistsError:
        return False
    shutil.copystat(file, place)
    return True
