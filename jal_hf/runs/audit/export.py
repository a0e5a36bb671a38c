"""A cleaned dataset on disk, in the form that its source has: class folders, a table, or `save_to_disk`."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import datasets
import numpy as np

from jal_hf.data.images.encoded import encoded_column
from jal_hf.data.readers.image_table import CHANGES, table_files
from jal_hf.ground.files import write_text
from jal_hf.runs.audit.cleaning import DROPPED, Cleaning

IMAGES = ("images",)
"""Where a table's images are put, under the names that they have in their source."""


def export_cleaned(data: Any, train: datasets.Dataset, cleaning: Cleaning, folder: Path) -> str:
    """Write the training rows as the cleaning says, the test split as it is, and `changes.csv`; returns the form.

    Images in files of their own are linked where the disk allows it, and else copied: `folder` is a whole dataset.

    Args:
        data: what `load_noisy_dataset` gave.
        train: its training rows, those held back for validation among them, in the order of the cleaning.
        folder: must be empty or absent.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: no row is left.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty; name a folder that is, or that is not there yet.")
    kept = np.flatnonzero(cleaning.labels != DROPPED)
    if not kept.size:
        raise ValueError(
            "No row would be left: every one is a suspect. Take a smaller --threshold, or --weights."
        )
    labels = [data.class_names[label] for label in cleaning.labels[kept]]
    weights = None if cleaning.weights is None else cleaning.weights[kept]
    test = data.get("test")
    tested = [] if test is None else [data.class_names[label] for label in test[data.label_column]]
    if isinstance(train.features[data.image_column], datasets.Value):
        form = "table"
        folder.mkdir(parents=True, exist_ok=True)
        ones = None if weights is None or test is None else np.ones(len(test))
        _write_table(folder / "train.csv", train.select(kept)[data.image_column], labels, weights, "text")
        if test is not None:
            _write_table(folder / "test.csv", test[data.image_column], tested, ones, "text")
    elif data.facts.folder is None:
        form = "save_to_disk"
        _write_datasets(data, train.select(kept), cleaning.labels[kept], weights, folder)
    elif weights is None and not _is_table(data.name):
        form = "class folders"
        _link(_files(train.select(kept), data), [("train", label) for label in labels], data, folder)
        if test is not None:
            _link(_files(test, data), [("test", label) for label in tested], data, folder)
    else:
        form = "table"
        places = _link(_files(train.select(kept), data), [IMAGES] * len(kept), data, folder)
        _write_table(folder / "train.csv", places, labels, weights)
        if test is not None:
            # Tables of one dataset have the same columns.
            ones = None if weights is None else np.ones(len(test))
            _write_table(
                folder / "test.csv",
                _link(_files(test, data), [IMAGES] * len(test), data, folder),
                tested,
                ones,
            )
    cleaning.write_changes(folder / CHANGES)
    return form


def _is_table(name: str) -> bool:
    path = Path(name).expanduser()
    return path.is_file() or bool(table_files(path))


def _files(rows: datasets.Dataset, data: Any) -> list[str]:
    column = encoded_column(rows, data.image_column)
    return [str(item["path"]) for item in column[data.image_column]]


def _link(files: Sequence[str], places: Sequence[tuple[str, ...]], data: Any, folder: Path) -> list[str]:
    """Put each file below `folder/place`, under the name it has below its class; returns the ways from `folder`."""
    base, classes = Path(data.facts.folder), set(data.class_names)
    taken: list[str] = []
    for number, (file, place) in enumerate(zip(files, places, strict=True)):
        inside = (
            PurePath(file).relative_to(base)
            if PurePath(file).is_relative_to(base)
            else PurePath(PurePath(file).name)
        )
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
    """Link or copy a file; False, with nothing written, where the name is taken: that may be another original."""
    try:
        os.link(file, place)
    except FileExistsError:
        return False
    except OSError:  # another disk, or one without links
        try:
            with open(file, "rb") as source, place.open("xb") as copy:
                shutil.copyfileobj(source, copy)
        except FileExistsError:
            return False
        shutil.copystat(file, place)
    return True


def _write_table(
    path: Path, files: Sequence[str], labels: Sequence[str], weights: Any, column: str = "file"
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column, "label", *([] if weights is None else ["sample_weight"])])
    for row, (file, label) in enumerate(zip(files, labels, strict=True)):
        writer.writerow([file, label, *([] if weights is None else [f"{weights[row]:.6f}"])])
    write_text(path, text.getvalue())


def _write_datasets(data: Any, train: datasets.Dataset, labels: Any, weights: Any, folder: Path) -> None:
    column = data.label_column
    feature = train.features[column]
    # The clean labels beside noisy ones say what the labels were made from, not what they are now.
    dropped = [name for name in (column, "index", "sample_weight") if name in train.column_names]
    rows = train.remove_columns(dropped).add_column(column, np.asarray(labels, dtype=np.int64))
    rows = rows.cast_column(column, feature)
    if weights is not None:
        rows = rows.add_column("sample_weight", np.asarray(weights, dtype=np.float32))
    splits = {"train": rows}
    if "test" in data:
        splits["test"] = data["test"].remove_columns(
            [n for n in ("index",) if n in data["test"].column_names]
        )
    datasets.DatasetDict(splits).save_to_disk(str(folder))
