"""Files that are whole or not there: every record, log and table of the package is written through here."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]
"""A JSON object: names to numbers, text, lists, objects and null."""
LogLine = JsonObject
"""One JSON object of a file with a line for each."""


def file_place(path: str | os.PathLike[str]) -> Path:
    """Where a file is to be written; asked for before the work that fills it.

    Raises:
        IsADirectoryError: A folder is there.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder; name a file to write.")
    return target


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes its place in one step when the block ends well."""
    target = file_place(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a UTF-8 file whole or not at all, on the disk when this returns."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write JSON whole or not at all.

    Raises:
        ValueError: A number that JSON has no form for (NaN, infinity).
    """
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: str | os.PathLike[str], lines: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON objects, one a line, whole or not at all."""
    return write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def append_line(path: str | os.PathLike[str], line: Mapping[str, Any], *, durable: bool = False) -> None:
    """Add one JSON object as a line; `durable` waits until it is on the disk."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if durable:
            file.flush()
            os.fsync(file.fileno())


def read_lines(path: str | os.PathLike[str]) -> list[LogLine]:
    """The JSON objects of a file, one a line; no file gives none, and a line cut off by a kill is left out."""
    place = Path(path)
    if not place.is_file():
        return []
    lines = []
    for text in place.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def read_object(path: str | os.PathLike[str]) -> JsonObject:
    """The JSON object that a file holds.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is not JSON, or no object.
    """
    place = Path(path)
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {str(place)!r}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{place} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{place} holds a JSON {type(content).__name__} where an object is needed.")
    return content


def check_writable(folder: Path) -> None:
    """Make and remove a file in the folder, or in the nearest one above that exists.

    Raises:
        PermissionError: The folder or its disk is read-only, or belongs to somebody else.
        NotADirectoryError: A part of the path is a file.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"A part of the path {folder} is a file; choose another folder.")
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".write-test-"):
            pass
    except OSError as error:
        raise PermissionError(
            f"The output folder {folder} cannot be written ({error.strerror}). Choose another, or make it "
            "writable."
        ) from error


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Nothing is written, read or removed behind a link that lies where a file or folder of ours would.

    Raises:
        FileExistsError: One of the names is a link.
    """
    for name in names:
        if (folder / name).is_symlink():
            raise FileExistsError(
                f"{folder / name} is a link, and what is behind it is left alone. Remove the link, or choose another "
                "folder."
            )


def flush(path: Path) -> None:
    """Bring a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
