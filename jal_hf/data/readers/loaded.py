"""`datasets.load_dataset`, with what can go wrong said in one sentence."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import yaml
from datasets.exceptions import DatasetsError
from datasets.packaged_modules.csv.csv import CsvConfig

from jal_hf.data.readers.source import Splits
from jal_hf.data.readers.table_labels import label_converters, with_label_types
from jal_hf.ground.sentences import shortened

TABLE_FORMS = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".tsv": "csv",
}
"""Ending of a table's file to the builder of `datasets` that reads it."""

# Only an empty cell is empty: 'NA', 'None' and 'null' may be names of classes.
_CSV_OPTIONS = {"keep_default_na": False, "na_values": [""]}


def load_files(
    name: str, files: Mapping[str, Path], *, label_column: str | None = None, streaming: bool = False
) -> Splits:
    """Splits of local tables of one ending in `TABLE_FORMS`; see `load`.

    Args:
        name: as the user gave it, for messages.
        files: by split.
        label_column: one that holds labels beside the usual ones; CSV and TSV give texts first.
        streaming: rows come as they are read, and pandas guesses the types of labels too.
    """
    for path in () if streaming else files.values():
        refuse_other_separator(path)
    ending = next(iter(files.values())).suffix.lower()
    options: dict[str, Any] = {"data_files": {split: glob.escape(str(path)) for split, path in files.items()}}
    try:
        if TABLE_FORMS[ending] != "csv":
            return load(name, TABLE_FORMS[ending], streaming=streaming, **options)
        options |= _CSV_OPTIONS | ({"sep": "\t"} if ending == ".tsv" else {})
        if streaming:
            return load(name, "csv", streaming=True, **options)
        converters = label_converters(label_column)
        return with_label_types(load(name, "csv", converters=converters, **options), converters)
    except ValueError:
        for path in files.values():
            refuse_other_encoding(path)
        raise


def load_folder(
    name: str,
    folder: Path,
    config: str | None = None,
    *,
    label_column: str | None = None,
    streaming: bool = False,
) -> Splits:
    """Splits of a folder in the layout of the Hub, its CSV and TSV tables read as `load_files` reads them."""
    options: dict[str, Any] = {"streaming": streaming}
    converters: dict[str, type[str]] = {}
    if any(path.suffix.lower() in (".csv", ".tsv") for path in folder.rglob("*")):
        builder = _builder(folder, config)
        if builder is not None and isinstance(builder.config, CsvConfig):
            for path in () if streaming else sorted(folder.rglob("*.[ct]sv")):
                refuse_other_separator(path)
            options |= _CSV_OPTIONS
            if not streaming and builder.info.features is None:
                converters = label_converters(label_column)
                options["converters"] = converters
    splits = load(name, str(folder), config, **options)
    return with_label_types(splits, converters) if converters else splits


def _builder(folder: Path, config: str | None) -> datasets.DatasetBuilder | None:
    """What would read a folder; None where nothing can, which is said when it is read."""
    options = {"cache_dir": _cache_of(folder)} if (folder / "README.md").is_file() else {}
    try:
        return datasets.load_dataset_builder(str(folder), config, **options)
    except (DatasetsError, ValueError, OSError, RuntimeError, KeyError, yaml.YAMLError):
        return None


def refuse_other_separator(path: Path) -> None:
    """Nothing, unless the head of a CSV or TSV table is one column by its own separator and several by another.

    Raises:
        ValueError: It is; the separator is named.
    """
    own = {".csv": ",", ".tsv": "\t"}.get(path.suffix.lower())
    if own is None or not path.is_file():
        return
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.readline(10_000).strip("\n")
    found = next((mark for mark in (";", "\t", "|") if mark in head), own)
    if own not in head and found != own:
        raise ValueError(
            f"The columns of {path.name!r} are separated by {found!r}: {shortened(head)!r}. Save the table with commas "
            "between them as .csv, or with tabs as .tsv."
        )


def refuse_other_encoding(path: Path) -> None:
    """Name the first line of a table that is no UTF-8, by ValueError; nothing where all of it is, or it is no text."""
    if path.suffix.lower() not in (".csv", ".json", ".jsonl", ".tsv"):
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"Line {number} of {path.name!r} is no UTF-8: {shortened(ascii(line.strip()), 120)}. "
                    "Save the table as UTF-8."
                ) from error


def load(name: str, target: str, config: str | None = None, **options: Any) -> Splits:
    """Splits of a Hub dataset, a folder, or files of one form; no code of the dataset is run.

    Args:
        name: as the user gave it, for messages.
        target: what `load_dataset` takes.
        config: configuration of a Hub dataset.
        options: further arguments of `load_dataset`.

    Raises:
        FileNotFoundError: no such dataset.
        ValueError: it is there but cannot be read.
    """
    folder = Path(target)
    if (folder / "README.md").is_file():
        options.setdefault("cache_dir", _cache_of(folder))
    try:
        loaded: Splits = datasets.load_dataset(target, config, **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"The dataset {name!r} was not found: {first_line(error)}") from error
    except yaml.YAMLError as error:
        raise ValueError(
            f"The README.md of the dataset {name!r} begins with lines that are no YAML: {first_line(error)}. Correct "
            "them, or take away what stands between its two lines of dashes."
        ) from error
    except (DatasetsError, ValueError, OSError, RuntimeError, KeyError, pa.ArrowException) as error:
        # The reason of a failed build stands in the error behind it.
        reason = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        raise ValueError(f"The dataset {name!r} cannot be read: {first_line(reason)}") from error
    return loaded


def _cache_of(folder: Path) -> str:
    """Where `datasets` caches the rows of a folder as it is now.

    A folder whose README.md lists its files is known to `datasets` by that list and its name alone: rows of another
    folder of the name, or of the same one before it was written anew, would be taken for its own.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.resolve().rglob("*")):
        facts = path.lstat()
        digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return str(Path(datasets.config.HF_DATASETS_CACHE) / "folders" / digest.hexdigest()[:32])


def first_line(error: BaseException) -> str:
    """The beginning of an error's text, on one line."""
    text = str(error).strip()
    shown = " ".join(text.split("\n\n")[0].split())[:500]
    return shown or type(error).__name__
