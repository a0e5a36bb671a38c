"""The forms that a dataset can have, told from its name, and each one's reader."""

from __future__ import annotations

import dataclasses
import glob
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
from datasets.exceptions import DatasetsError

from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.noisy_labels import read_manifest
from jal_hf.data.readers.clothing1m import is_clothing1m, read_clothing1m
from jal_hf.data.readers.digits import load_digits
from jal_hf.data.readers.image_folder import (
    holds_image,
    is_utf8,
    locale_hint,
    looks_like_image_folder,
    read_image_folder,
)
from jal_hf.data.readers.image_table import (
    has_images_inside,
    naming_tables,
    open_paths,
    read_image_table,
    table_files,
)
from jal_hf.data.readers.loaded import TABLE_FORMS, first_line, load, load_files, load_folder
from jal_hf.data.readers.run_folders import CHANGES, holds_runs
from jal_hf.data.readers.source import ReadOptions, Source, Splits
from jal_hf.data.readers.split_column import split_by_column
from jal_hf.data.readers.web_dataset import read_web_dataset, tar_files
from jal_hf.data.readers.webvision import is_webvision, read_webvision
from jal_hf.ground.sentences import listed, shortened

_PUBLISHED = ("webvision", "clothing1m")


def read_source(dataset: Any, options: ReadOptions) -> Source:
    """Read a dataset from wherever its name points to; no code of the dataset is ever run.

    A table with a column of names of splits is split by it.

    Args:
        dataset: `digits`, a Hub id, a local folder or file, `webvision:FOLDER`, `clothing1m:FOLDER`, tar
            shards, or a loaded dataset object.
        options: how to read it.

    Raises:
        FileNotFoundError: no such folder, file or Hub dataset.
        ValueError: it is there but cannot be read; the sentence says why.
    """
    return split_by_column(_read(dataset, options), options, can_count=can_count_labels(dataset))


def _read(dataset: Any, options: ReadOptions) -> Source:
    if not isinstance(dataset, str | Path):
        return _from_object(dataset, options)
    name = str(dataset)
    if not name.strip():
        raise FileNotFoundError("The dataset has no name; give a Hub id, a local path or 'digits'.")
    if name == DATASET_OBJECT:
        raise ValueError(
            "The data was given as an object, which no config or record can hold; give it again, as data= to train and "
            "dataset= to an audit, or name a dataset with --dataset."
        )
    if name == "digits":
        return Source(name, _maybe_streamed(load_digits(), options))
    prefix, _, rest = name.partition(":")
    if prefix in _PUBLISHED and name != prefix:
        return _published(name, prefix, rest, options)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path, options)
    if files := tar_files(name):
        return read_web_dataset(name, files, streaming=options.streaming, num_classes=options.num_classes)
    if path.is_file():
        return _from_file(name, path, options)
    if _looks_like_path(name):
        raise FileNotFoundError(
            f"There is no folder or file {name!r}. A dataset is a local path, a Hub id such as "
            f"'uoft-cs/cifar10', or "
            "the built-in 'digits'."
        )
    return Source(name, load(name, name, options.config, streaming=options.streaming))


def can_count_labels(dataset: Any) -> bool:
    """Whether a pass over all labels of a stream is cheap and comes to an end: local files, and no pipe."""
    if not isinstance(dataset, str | Path):
        return False
    return (
        str(dataset) == "digits" or Path(str(dataset)).expanduser().exists() or bool(tar_files(str(dataset)))
    )


def _looks_like_path(name: str) -> bool:
    is_odd = glob.has_magic(name) or name.lower().endswith((".tar", ".tgz", ".tar.gz", *TABLE_FORMS))
    return is_odd or Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1


def _maybe_streamed(splits: Splits, options: ReadOptions) -> Splits:
    if not options.streaming:
        return splits
    return {name: split.to_iterable_dataset() for name, split in splits.items()}


def _published(name: str, kind: str, rest: str, options: ReadOptions) -> Source:
    """`webvision:FOLDER?classes=50&imagenet=FOLDER` and `clothing1m:FOLDER`."""
    folder, _, query = rest.partition("?")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {folder!r} for the dataset {name!r}.")
    given = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    known = ("classes", "imagenet") if kind == "webvision" else ()
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"The dataset {name!r} has no option {unknown[0]!r}; {kind} knows: {listed(known)}.")
    if kind == "clothing1m":
        return _streamed(read_clothing1m(name, path, on_bad_image=options.on_bad_image), options)
    count = given.get("classes", "50")
    if not count.isdigit():
        raise ValueError(f"The option classes of {name!r} is a number of classes, not {count!r}.")
    imagenet = Path(given["imagenet"]).expanduser() if "imagenet" in given else None
    source = read_webvision(
        name, path, classes=int(count), imagenet=imagenet, on_bad_image=options.on_bad_image
    )
    return _streamed(source, options)


def _streamed(source: Source, options: ReadOptions) -> Source:
    source = split_by_column(source, options)
    return dataclasses.replace(source, splits=_maybe_streamed(source.splits, options))


def _from_object(dataset: Any, options: ReadOptions) -> Source:
    if isinstance(dataset, datasets.Dataset | datasets.IterableDataset | pd.DataFrame):
        dataset = {"train": dataset}
    if isinstance(dataset, Mapping) and dataset:
        for name, rows in dataset.items():
            _refuse_transform(str(name), rows)
        given = {
            name: _from_frame(rows) if isinstance(rows, pd.DataFrame) else rows
            for name, rows in dataset.items()
        }
        splits, missing = open_paths(given, options)
        return Source(DATASET_OBJECT, splits, missing_images=missing)
    raise ValueError(
        f"A dataset is a name, a path, a Hugging Face dataset or a DataFrame, not {type(dataset).__name__}; "
        "datasets.Dataset.from_list and from_dict make one of rows in memory."
    )


def _refuse_transform(name: str, rows: Any) -> None:
    if isinstance(rows, datasets.Dataset) and rows.format["type"] == "custom":
        raise ValueError(
            f"The rows of split {name!r} have a transform of their own (set_transform or with_transform), and here "
            "images and labels are read as they are stored. Apply it with .map, or give the dataset to JALTrainer."
        )


def _from_frame(frame: pd.DataFrame) -> datasets.Dataset:
    rows = frame.copy(deep=False)
    for name, column in frame.items():
        if any(isinstance(cell, os.PathLike) for cell in column):
            rows[name] = [os.fspath(cell) if isinstance(cell, os.PathLike) else cell for cell in column]
        odd = [row for row, cell in enumerate(rows[name]) if isinstance(cell, str) and not is_utf8(cell)]
        if odd:
            raise ValueError(
                f"Row {odd[0]} of the DataFrame holds {rows[name].iloc[odd[0]]!a} in {name!r}, which is no UTF-8."
                f"{locale_hint()}"
            )
    try:
        return datasets.Dataset.from_pandas(rows, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = "; ".join(map(str, error.args))
        raise ValueError(f"The DataFrame cannot be read: {shortened(reason, 300)}") from error


def _from_folder(name: str, path: Path, options: ReadOptions) -> Source:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _streamed(Source(name, _saved_to_disk(name, path)), options)
    if is_webvision(path):
        return _published(name, "webvision", str(path), options)
    if is_clothing1m(path):
        return _published(name, "clothing1m", str(path), options)
    shards = tar_files(str(path))
    if shards and not looks_like_image_folder(path, least=2):
        return read_web_dataset(name, shards, streaming=options.streaming, num_classes=options.num_classes)
    if options.has_images and (source := _from_image_files(name, path, options)):
        return _streamed(source, options)
    if (tables := table_files(path)) and (source := read_image_table(name, tables, options)):
        return _streamed(source, options)
    if "[" in str(path.resolve()):
        raise ValueError(
            f"The name of the folder {name!r} has a '[', which the reader of this layout takes for patterns of names; "
            "give it another name, or name a file in it as the dataset."
        )
    splits = load_folder(
        name, path, options.config, label_column=options.label_column, streaming=options.streaming
    )
    return Source(name, splits, manifest=read_manifest(path))


def _from_image_files(name: str, path: Path, options: ReadOptions) -> Source | None:
    """Images that are files of the folder, labelled by a table at its top or else by class folders.

    None without such images, and where tables of images or metadata make it a layout that `datasets` itself reads.

    Raises:
        ValueError: a table names images in a way that cannot be used, or nothing labels them.
    """
    found = _tables(path)
    if any(table.stem.lower() == "metadata" or has_images_inside(table) for table in found):
        return None
    tables = naming_tables(name, path, options.image_column)
    source = read_image_table(name, tables, options) if tables else None
    used = tables.values() if source else ()
    unused = [table for table in found if table not in used]
    archives = [Path(shard) for files in tar_files(str(path)).values() for shard in files]
    beside = [str(file.relative_to(path)) for file in (*unused, *archives)]
    if source is None and looks_like_image_folder(path, least=2 if beside else 1):
        source = read_image_folder(name, path)
    elif source is None and beside and holds_image(path):
        raise ValueError(
            f"Nothing says what the images in {name!r} show: they lie in no class folders, and {listed(beside[:5])} is "
            "no table at its top with a column of paths of image files, endings included."
        )
    if source is None or not beside:
        return source
    labels = f"those of {listed(table.name for table in used)}" if used else "the names of the folders"
    warning = f"{listed(beside[:5])} beside the images was not used; the labels are {labels}."
    if unused:
        warning += (
            " A table of labels lies at the top of the folder and has a column of paths of image files."
        )
    return dataclasses.replace(source, warnings=(*source.warnings, warning))


def _tables(path: Path) -> list[Path]:
    """Tables in a folder and its subfolders; JSON files there are mostly notes, but for metadata and splits."""
    found = (entry for level in ("*", "*/*") for entry in path.glob(level))
    tables = [
        entry
        for entry in found
        if entry.suffix.lower() in TABLE_FORMS
        and entry.name != CHANGES
        and (entry.parent == path or not holds_runs(entry.parent))
    ]
    named = {"metadata", *SPLIT_NAMES}
    return sorted(
        entry
        for entry in tables
        if not entry.name.startswith(".") and (entry.suffix.lower() != ".json" or entry.stem.lower() in named)
    )


def _saved_to_disk(name: str, path: Path) -> dict[str, datasets.Dataset]:
    try:
        loaded = datasets.load_from_disk(str(path))
    except (DatasetsError, OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ValueError(f"The dataset saved in {name!r} cannot be read: {first_line(error)}") from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}


def _from_file(name: str, path: Path, options: ReadOptions) -> Source:
    ending = path.suffix.lower()
    if ending not in TABLE_FORMS:
        raise ValueError(
            f"The file {name!r} is of no kind that holds a dataset; a single file may be "
            f"{', '.join(sorted(TABLE_FORMS))}, or give a folder."
        )
    if source := read_image_table(name, {"train": path}, options):
        return _streamed(source, options)
    splits = load_files(name, {"train": path}, label_column=options.label_column, streaming=options.streaming)
    return Source(name, splits)
