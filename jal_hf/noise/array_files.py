"""Reading arrays and columns from files, none of which can hold code: pickles are refused."""

from __future__ import annotations

import csv
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

Columns = Mapping[str, Any]

ONLY_COLUMN = ""  # name of the column of a file that holds one nameless vector

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin")
_READABLE = (".parquet", ".csv", ".npy", ".npz", ".json")


# What the readers raise on a damaged file; MemoryError when its header promises more than there is.
_BROKEN = (
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    SyntaxError,
    MemoryError,
    OverflowError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class PickleError(ValueError):
    """A file that holds a pickle, with how to convert it."""


def existing_file(path: Path, what: str) -> Path:
    """Return the path of a file that is there. Raises FileNotFoundError with what it should have been."""
    if not path.is_file():
        raise FileNotFoundError(f"The {what} {str(path)!r} does not exist.")
    return path


def read_columns(path: Path) -> Columns:
    """Columns of a parquet, csv, npy, npz or json file, by name.

    Raises:
        FileNotFoundError: The file is absent.
        ValueError: The file is a pickle (the sentence says how to convert it), empty or broken.
    """
    existing_file(path, "label file")
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise PickleError(pickle_sentence(path))
    if suffix not in _READABLE:
        raise ValueError(f"The label file {str(path)!r} ends in {suffix!r}; give {', '.join(_READABLE)}.")
    if path.stat().st_size == 0:
        raise ValueError(f"The label file {str(path)!r} is empty (0 bytes); fetch it again.")
    try:
        if suffix == ".parquet":
            return _table_columns(pyarrow.parquet.read_table(path))
        if suffix == ".csv":
            return _table_columns(_read_csv(path))
        if suffix == ".json":
            return _json_columns(json.loads(path.read_text(encoding="utf-8")))
        return _numpy_columns(path)
    except PickleError:
        raise
    except _BROKEN as error:
        raise ValueError(f"The label file {str(path)!r} cannot be read: {_first_line(error)}") from error


def csv_texts(path: Path, column: str) -> list[str]:
    """The fields of one column of a csv file as they are written, numbers too.

    Raises:
        ValueError: The column is not text in UTF-8.
    """
    try:
        texts: list[str] = _read_csv(path, column)[column].to_pylist()
    except _BROKEN as error:
        raise ValueError(f"The label file {str(path)!r} cannot be read: {_first_line(error)}") from error
    return texts


def read_matrix(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A matrix of numbers from an npy, csv or json file, as it stands there."""
    existing_file(path, "matrix file")
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise PickleError(pickle_sentence(path))
    if suffix not in (".npy", ".csv", ".json"):
        raise ValueError(f"The matrix file {str(path)!r} ends in {suffix!r}; give .npy, .csv or .json.")
    try:
        if suffix == ".npy":
            content: Any = _load_numpy(path)
        elif suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as lines:
                content = [row for row in csv.reader(lines) if row]
        else:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                content = content["transition_matrix"]
        return np.array(content, dtype=np.float64)
    except KeyError as error:
        raise ValueError(
            f"The matrix file {str(path)!r} must hold a list of rows, alone or under 'transition_matrix'."
        ) from error
    except PickleError:
        raise
    except (*_BROKEN, TypeError) as error:
        raise ValueError(
            f"The matrix file {str(path)!r} cannot be read as rows of numbers: {_first_line(error)}"
        ) from error


def pickle_sentence(path: Path) -> str:
    """Say why a pickle is not opened and how to convert it."""
    load = "torch.load(path, weights_only=False)"
    if path.suffix.lower() == ".npy":
        load = "numpy.load(path, allow_pickle=True).item()"
    return (
        f"{str(path)!r} is a pickle, and opening a pickle can run any code, so it is never read. If you "
        f"trust its origin, convert it once: python -c \"import numpy, torch, pandas; path = '{path.name}'; "
        f"pandas.DataFrame(dict({load})).to_parquet('{path.stem}.parquet')\", then give "
        f"{path.stem}.parquet#COLUMN."
    )


def _load_numpy(path: Path) -> Any:
    """What an npy file holds, or the dict of arrays of an npz file."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise PickleError(pickle_sentence(path)) from error
        raise


def _numpy_columns(path: Path) -> Columns:
    content = _load_numpy(path)
    if isinstance(content, dict):
        return content
    names = content.dtype.names
    return {ONLY_COLUMN: content} if names is None else {name: content[name] for name in names}


def _table_columns(table: pa.Table) -> Columns:
    # Gaps turn integers into floats with NaN, which the reader of labels refuses.
    return {name: table[name].to_numpy() for name in table.column_names}


def _read_csv(path: Path, text_column: str | None = None) -> pa.Table:
    """The table with types guessed from the fields, or one column as text."""
    with path.open(newline="", encoding="utf-8") as lines:
        header = next(csv.reader(lines), [])
    numeric = bool(header) and all(name.strip().lstrip("-").isdigit() for name in header)
    names = [ONLY_COLUMN] if len(header) == 1 else [str(number) for number in range(len(header))]
    options = pyarrow.csv.ReadOptions(column_names=names if numeric else None)
    convert = None
    if text_column is not None:
        convert = pyarrow.csv.ConvertOptions(
            include_columns=[text_column], column_types={text_column: pa.string()}
        )
    return pyarrow.csv.read_csv(path, read_options=options, convert_options=convert)


def _json_columns(content: Any) -> Columns:
    if isinstance(content, dict):
        return {str(name): np.asarray(values) for name, values in content.items()}
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return {str(name): np.asarray([row[name] for row in content]) for name in content[0]}
    if isinstance(content, list):
        return {ONLY_COLUMN: np.asarray(content)}
    raise ValueError("give a list of labels, or columns as {name: [labels]}.")


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
