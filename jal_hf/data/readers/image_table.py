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
from datasets.exceptions import DatasetsError

from jal_hf.data.column_values import with_column
from jal_hf.data.columns import IMAGE_NAMES, SPLIT_NAMES, is_encoded_image
from jal_hf.data.labels import with_whole_numbers
from jal_hf.data.readers.image_folder import is_utf8, locale_hint, looks_like_image_folder
from jal_hf.data.readers.listed_images import PresentFiles, leaves_folder
from jal_hf.data.readers.loaded import TABLE_FORMS, first_line, load_files, refuse_other_encoding
from jal_hf.data.readers.run_folders import CHANGES
from jal_hf.data.readers.source import ReadOptions, Source
from jal_hf.ground.image_files import IMAGE_ENDINGS, has_image_ending
from jal_hf.ground.sentences import listed

PATH_NAMES = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img_path", "image_file",
    "image_name", *IMAGE_NAMES,
)  # fmt: skip

_ROWS_LOOKED_AT = 100


def table_files(folder: Path) -> dict[str, Path]:
    """The table at the top of a folder, or those named after splits; empty where it is unclear which one counts."""
    tables = loose_tables(folder)
    if len(tables) == 1:
        return {"train": tables[0]}
    named = [table for table in tables if table.stem.lower() in SPLIT_NAMES]
    splits = {SPLIT_NAMES[table.stem.lower()]: table for table in named}
    return splits if len(splits) == len(named) else {}


def loose_tables(folder: Path) -> list[Path]:
    """The tables at the top of a folder, in order.

    JSON files beside class folders are mostly notes; as data they are named after a split.
    """
    # metadata.* beside images is the layout of `datasets`' own imagefolder.
    tables = [
        entry
        for entry in sorted(folder.iterdir())
        if entry.suffix.lower() in TABLE_FORMS
        and entry.is_file()
        and not entry.name.startswith(".")
        and entry.stem != "metadata"
        and entry.name != CHANGES
    ]
    if any(table.suffix.lower() == ".json" for table in tables) and looks_like_image_folder(folder):
        return [
            table for table in tables if table.suffix.lower() != ".json" or table.stem.lower() in SPLIT_NAMES
        ]
    return tables


def naming_tables(name: str, folder: Path, asked: str | None = None) -> dict[str, Path]:
    """Of the tables at the top of a folder those that name its images, by split; empty where none does.

    Args:
        name: as the user gave it.
        folder: where they lie.
        asked: the column of paths; None finds it.

    Raises:
        ValueError: a table cannot be read, several name images and no split, or none of the columns holds paths alone.
    """
    cells = {table: _first_cells(name, table) for table in loose_tables(folder)}
    tables = [table for table, first in cells.items() if _name_images(first)]
    named = [table for table in tables if table.stem.lower() in SPLIT_NAMES]
    chosen = {SPLIT_NAMES[table.stem.lower()]: table for table in named}
    if len(chosen) < len(named) or (len(tables) > 1 and not named):
        raise ValueError(
            f"The tables {listed(table.name for table in named or tables)} in {name!r} all name images; give one of "
            "them as the dataset, or name them after splits, as train.csv and test.csv."
        )
    if tables and not named:
        chosen = {"train": tables[0]}
    for table in chosen.values():
        if asked is None and _path_column(cells[table], None) is None:
            raise ValueError(
                f"The image column of {table.name!r} is unclear: it names images, and none of its columns, or more "
                f"than one, holds their paths alone. Columns: {listed(cells[table])}. Separate columns by commas in "
                ".csv and by tabs in .tsv, or name the column with image_column."
            )
    return chosen


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
    try:
        column = _path_column(_first_cells(name, next(iter(tables.values()))), options.image_column)
    except ValueError:
        for table in tables.values():
            refuse_other_encoding(table)
        column = None  # what else is wrong is said when all of it is read
    if column is None:
        return None
    files = PresentFiles(options.on_bad_image)
    loaded = load_files(name, tables, label_column=options.label_column)
    splits = {}
    for split, rows in loaded.items():
        paths = _paths_below(tables[split], _texts(rows, column))
        splits[split] = _with_images(rows, column, paths, files, tables[split].name)
    folders = {str(path.parent.absolute()) for path in tables.values()}
    return Source(name, splits, missing_images=files.missing, folder=folders.pop(), layout="table")


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
        column = _path_column(rows.select_columns(texts)[:_ROWS_LOOKED_AT], options.image_column)
        if column is not None:
            paths = ["" if path is None else os.path.abspath(path) for path in _texts(rows, column)]
            found[name] = _with_images(rows, column, paths, files, f"split {name}")
    return found, files.missing


def has_images_inside(table: Path) -> bool:
    """Whether a table has the images inside: parquet files say so in their columns, Arrow files are taken to."""
    if table.suffix.lower() != ".parquet":
        return table.suffix.lower() == ".arrow"
    try:
        features = datasets.Features.from_arrow_schema(pq.read_schema(table))
    except (OSError, ValueError, pa.ArrowException):
        return True  # what is wrong is said when it is read
    return any(
        isinstance(feature, datasets.Image) or is_encoded_image(feature) for feature in features.values()
    )


def _first_cells(name: str, path: Path) -> Mapping[str, Sequence[Any]]:
    """The first rows' cells by column; empty where the table has images itself, or no rows.

    Raises:
        ValueError: it cannot be read.
    """
    form = path.suffix.lower()
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
            first = next(pq.ParquetFile(path).iter_batches(_ROWS_LOOKED_AT, columns=texts), None)
            return {} if first is None else first.to_pydict()
        splits = load_files(name, {"train": path}, streaming=True)
        stream = splits["train"]
        if any(isinstance(feature, datasets.Image) for feature in (stream.features or {}).values()):
            return {}
        return next(iter(stream.iter(_ROWS_LOOKED_AT)), {})
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, DatasetsError) as error:
        raise ValueError(
            f"The table {path.name!r} of {name!r} cannot be read: {first_line(error)}"
        ) from error


def _texts_of(cells: Sequence[Any]) -> list[str]:
    return [cell for cell in cells if isinstance(cell, str) and cell.strip()]


def _name_images(cells: Mapping[str, Sequence[Any]]) -> bool:
    """Whether any text has the ending of an image's name in it."""
    texts = [text.lower() for column in cells.values() for text in _texts_of(column)]
    return any(ending in text for ending in IMAGE_ENDINGS for text in texts)


def _path_column(cells: Mapping[str, Sequence[Any]], asked: str | None) -> str | None:
    """The column in which most texts are names of image files."""
    texts = {column: _texts_of(values) for column, values in cells.items()}
    held = [column for column, found in texts.items() if 2 * sum(map(has_image_ending, found)) > len(found)]
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
        if path is not None and not _is_for_disk(os.path.join(folder, path)):
            raise ValueError(
                f"Row {row} of {table.name!r} names {os.path.join(folder, path)!a}, which is no UTF-8, or has letters "
                f"that names of files cannot have here.{locale_hint()}"
            )
        if path is not None and not os.path.isabs(path) and leaves_folder(path):
            raise ValueError(
                f"Row {row} of {table.name!r} names {path!r}, which leads out of the table's folder; write absolute "
                "paths for images that lie elsewhere, or put the table above them."
            )
    return ["" if path is None else os.path.join(folder, path) for path in paths]


def _is_for_disk(path: str) -> bool:
    """Whether a path is whole text, and names of files here can have its letters."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return is_utf8(path)


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
    return with_column(split, column, [paths[row] for row in present]).cast_column(column, datasets.Image())
