"""Tables of image paths and labels: CSV, TSV, JSON lines or parquet.

A relative path counts from the table's folder and must stay in it, so that a table got from elsewhere names no other
files of this machine; an absolute path is taken as it is, since only its owner could write it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from jal_hf.data.columns import IMAGE_NAMES, SPLIT_NAMES, is_encoded_image
from jal_hf.data.labels import with_whole_numbers
from jal_hf.data.readers.listed_images import PresentFiles, leaves_folder
from jal_hf.data.readers.loaded import load_files
from jal_hf.data.readers.source import ReadOptions, Source
from jal_hf.ground.image_files import has_image_ending

TABLE_FORMS = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".tsv": "csv",
}
"""Ending of a table's file to the builder of `datasets` that reads it."""

CHANGES = "changes.csv"
"""The list of what was changed, beside a cleaned dataset: no data itself."""

PATH_NAMES = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img_path", "image_file",
    "image_name", *IMAGE_NAMES,
)  # fmt: skip


def table_files(folder: Path) -> dict[str, Path]:
    """The table at the top of a folder, or those named after splits; empty where it is unclear which one counts."""
    tables = [
        entry for entry in sorted(folder.iterdir()) if entry.suffix.lower() in TABLE_FORMS and entry.is_file()
    ]
    # metadata.* beside images is the layout of `datasets`' own imagefolder.
    tables = [table for table in tables if table.stem != "metadata" and table.name != CHANGES]
    if len(tables) == 1:
        return {"train": tables[0]}
    splits = {SPLIT_NAMES[table.stem.lower()]: table for table in tables if table.stem.lower() in SPLIT_NAMES}
    return splits if len(splits) == len(tables) else {}


def read_image_table(name: str, tables: Mapping[str, Path], options: ReadOptions) -> Source | None:
    """Rows with an image column in place of the paths, and their other columns; None where no column holds paths.

    Args:
        name: as the user gave it.
        tables: file by split; all of one form.
        options: `image_column` names the paths, `on_bad_image` says what becomes of absent files.

    Raises:
        ValueError: a table cannot be read, or a relative path leads out of its folder.
        UnreadableImageError: image files are absent.
    """
    forms = {path.suffix.lower() for path in tables.values()}
    if len(forms) != 1 or not options.has_images:
        return None
    form = forms.pop()
    column = _path_column(_first_row(next(iter(tables.values())), form), options.image_column)
    if column is None:
        return None
    files = PresentFiles(options.on_bad_image)
    loaded = load_files(name, TABLE_FORMS[form], tables, **_csv_options(form))
    splits = {}
    for split, rows in loaded.items():
        paths = _paths_below(tables[split], _texts(rows, column))
        splits[split] = _with_images(rows, column, paths, files, tables[split].name)
    folders = {str(path.parent.absolute()) for path in tables.values()}
    return Source(name, splits, missing_images=files.missing, folder=folders.pop())


def open_paths(splits: Mapping[str, Any], options: ReadOptions) -> tuple[dict[str, Any], int]:
    """(splits with images in place of the paths in their rows, number of files left out as absent).

    For datasets from somebody's own Python: a relative path counts from the working folder. Splits that have images, no
    rows, or no column of paths come back as they are.
    """
    files = PresentFiles(options.on_bad_image)
    found = dict(splits)
    for name, rows in splits.items():
        if not options.has_images or not isinstance(rows, datasets.Dataset) or not len(rows):
            continue
        texts = [
            key for key, value in rows.features.items() if getattr(value, "dtype", "").endswith("string")
        ]
        if any(map(is_encoded_image, rows.features.values())) or not texts:
            continue
        column = _path_column(rows.select_columns(texts)[0], options.image_column)
        if column is not None:
            paths = ["" if path is None else os.path.abspath(path) for path in _texts(rows, column)]
            found[name] = _with_images(rows, column, paths, files, f"split {name}")
    return found, files.missing


def _csv_options(form: str) -> dict[str, Any]:
    # Only an empty cell is empty: 'NA', 'None' and 'null' may be names of classes.
    options = {"keep_default_na": False, "na_values": [""]}
    return {**options, "sep": "\t"} if form == ".tsv" else options if form == ".csv" else {}


def _first_row(path: Path, form: str) -> Mapping[str, Any]:
    """The first row's texts; empty where the table has images itself, no rows, or cannot be read."""
    try:
        if form == ".parquet":
            schema = pq.read_schema(path)
            if any(map(is_encoded_image, datasets.Features.from_arrow_schema(schema).values())):
                return {}
            texts = [
                field.name
                for field in schema
                if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
            ]
            first = next(pq.ParquetFile(path).iter_batches(1, columns=texts), None)
            rows = [] if first is None else first.to_pylist()
        else:
            options = {"streaming": True, "split": "train", **_csv_options(form)}
            stream = datasets.load_dataset(TABLE_FORMS[form], data_files=str(path), **options)
            rows = list(stream.take(1))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, datasets.exceptions.DatasetsError):
        # What is wrong is said when the whole table is read.
        return {}
    return rows[0] if rows else {}


def _path_column(row: Mapping[str, Any], asked: str | None) -> str | None:
    held = [column for column, value in row.items() if isinstance(value, str) and has_image_ending(value)]
    if asked is not None:
        return asked if asked in held else None
    named = [column for column in PATH_NAMES if column in held]
    return named[0] if named else held[0] if len(held) == 1 else None


def _texts(rows: datasets.Dataset, column: str) -> list[str | None]:
    found: list[str | None] = rows.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    return found


def _paths_below(table: Path, paths: Sequence[str | None]) -> list[str]:
    """The whole paths that a table's rows name."""
    folder = table.parent.absolute()
    for row, path in enumerate(paths):
        if path is not None and not os.path.isabs(path) and leaves_folder(path):
            raise ValueError(
                f"Row {row} of {table.name!r} names {path!r}, which leads out of the table's folder; write absolute "
                "paths for images that lie elsewhere, or put the table above them."
            )
    return ["" if path is None else os.path.join(folder, path) for path in paths]


def _with_images(
    split: datasets.Dataset, column: str, paths: Sequence[str], files: PresentFiles, name: str
) -> datasets.Dataset:
    """Rows with the images at `paths` in place of a column; `name` is what a sentence calls them."""
    present = files.rows(name, paths)
    if "index" not in split.column_names:
        split = split.add_column("index", list(range(len(split))))
    if len(present) < len(paths):
        split = split.select(present)
    for key, feature in split.features.items():
        if isinstance(feature, datasets.Value) and feature.dtype.startswith("float"):
            split = with_whole_numbers(split, key)
    images = split.remove_columns([column]).add_column(column, [paths[row] for row in present])
    return images.cast_column(column, datasets.Image())
