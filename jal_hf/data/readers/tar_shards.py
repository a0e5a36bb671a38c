"""WebDataset tar shards: files of one sample share a name, their endings say what they are.

`datasets` reads shards too, but decodes every field of every sample (arrays, torch files) to reach a label.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jal_hf.ground.image_files import IMAGE_ENDINGS

_LABEL_ENDINGS = ("cls", "json", "jsn", "txt")
_BLOCK = 512
_JSON_KEYS = ("label", "cls", "class", "labels", "fine_label", "target")


@dataclass
class TarSample:
    """One sample: its key, its encoded image and its label, None where absent."""

    key: str
    image: bytes | None = None
    path: str | None = None
    label: int | str | None = None
    fields: set[str] = field(default_factory=set)


def iterate_tar(path: str, *, with_images: bool = True) -> Iterator[TarSample]:
    """Samples of one shard in order; nothing is kept, so a pipe that never ends is read at flat memory.

    Args:
        path: a tar file (compressed or not) or a named pipe.
        with_images: False reads labels alone and jumps over the pixels.

    Raises:
        ValueError: not a tar file, or one that ends in the middle.
        FileNotFoundError: no such file.
    """
    mode = "r|*" if with_images or is_pipe(path) else "r:*"
    try:
        if not os.path.isfile(path) and not is_pipe(path) and os.path.exists(path):
            raise tarfile.ReadError("it is neither a regular file nor a named pipe")
        _refuse_cut_off(path)
        with tarfile.open(path, mode=mode) as archive:  # type: ignore[call-overload]  # "r|*" and "r:*" both exist
            yield from _samples(archive, path, with_images)
    except FileNotFoundError:
        raise
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"The shard {path!r} is not a whole tar file: {error}.") from error


def _refuse_cut_off(path: str) -> None:
    """tarfile takes a file that ends inside a header for a whole one, and rows would be lost in silence."""
    if is_pipe(path) or not path.endswith(".tar"):
        return
    with open(path, "rb") as file:
        if file.seek(0, 2) < _BLOCK:
            raise tarfile.ReadError("it is empty")
        file.seek(-_BLOCK, 2)
        if file.read().strip(b"\0"):
            raise tarfile.ReadError("it ends without the mark of a tar file's end")


def is_pipe(path: str) -> bool:
    """Whether a path is a named pipe, which can be read only once."""
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except OSError:
        return False


def _samples(archive: tarfile.TarFile, path: str, with_images: bool) -> Iterator[TarSample]:
    current: TarSample | None = None
    for member in archive:
        # tarfile remembers every member it has seen; a stream must not.
        archive.members = []  # type: ignore[attr-defined]
        if not member.isfile():
            continue
        folder, _, file = member.name.rpartition("/")
        stem, _, ending = file.partition(".")
        if not stem or not ending:
            continue
        key = f"{folder}/{stem}" if folder else stem
        if current is not None and current.key != key:
            yield current
            current = None
        current = current or TarSample(key)
        last = ending.rsplit(".", 1)[-1].lower()
        if f".{last}" in IMAGE_ENDINGS:
            current.path = member.name
            if with_images:
                current.image = _content(archive.extractfile(member))
        elif last in _LABEL_ENDINGS and current.label is None:
            current.label = _label(last, _content(archive.extractfile(member)), f"{path}:{member.name}")
        current.fields.add(last)
    if current is not None:
        yield current


def _content(file: IO[bytes] | None) -> bytes:
    return file.read() if file is not None else b""


def _label(ending: str, content: bytes, place: str) -> int | str | None:
    """An integer where the text is one, else the text; None where a JSON file has no label."""
    try:
        text = content.decode("utf-8").strip()
        if ending in ("json", "jsn"):
            fields: Any = json.loads(text)
            if not isinstance(fields, dict):
                return None
            value = next((fields[key] for key in _JSON_KEYS if fields.get(key) is not None), None)
            if value is None:
                return None
            if isinstance(value, bool) or not isinstance(value, int | str):
                raise ValueError(f"The label in {place} is {value!r}; labels must be integers or strings.")
            return value
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"The label in {place} cannot be read: {error}.") from error
    try:
        return int(text)
    except ValueError:
        return text or None
