"""Where data and weights come from, as names that may be published: never a way through somebody's disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_PREFIXED = re.compile(r"^(webvision|clothing1m|local-dir|transformers):(.+)$")
_IN_TEXT = re.compile(r"(?:file:/|(?<![\w.:/~%\\-]))(?:~?/|[A-Za-z]:\\)[^\s'\"`,;:()\[\]{}<>|]+")
OF_FILES = ("human", "labels", "matrix")
"""Kinds of noise that a file of this machine holds."""
_ON_DISK = re.compile(r"^(/|~|\.\.|[A-Za-z]:[\\/]|\\\\)")


def is_hub_id(name: str) -> bool:
    """Whether a dataset's name is an id on the Hub: a folder of that name is read first."""
    return name.count("/") == 1 and ":" not in name and not Path(name).expanduser().exists()


def place_name(given: str) -> str:
    """A dataset's or model's name with an absolute path, one from home or one upwards cut to its last part."""
    prefixed = _PREFIXED.match(given)
    if prefixed:
        return f"{prefixed[1]}:{place_name(prefixed[2])}"
    if not _ON_DISK.match(given):
        return given
    return PurePosixPath(given.replace("\\", "/")).name or "folder"


def published_spec(spec: str) -> str:
    """A noise spec with its file by name: `human:me/x.parquet#worse` is `human:x.parquet#worse`.

    What a benchmark is named by may be an id on the Hub, so only a way through the disk is cut there.
    """
    kind, colon, rest = spec.partition(":")
    path, mark, column = rest.partition("#")
    name = place_name(path)
    if kind.strip().lower() in OF_FILES:
        name = PurePosixPath(name.replace("\\", "/")).name
    return f"{kind}{colon}{name}{mark}{column}"


def absolute_place(given: str) -> str | None:
    """A dataset's or model's name with its way from the root, where it lies on this disk; None where it does not."""
    prefixed = _PREFIXED.match(given)
    if prefixed:
        inside = absolute_place(prefixed[2])
        return None if inside is None else f"{prefixed[1]}:{inside}"
    path = Path(given).expanduser()
    return os.path.abspath(path) if path.exists() else None


def absolute_spec(spec: str) -> str | None:
    """The same of the file of a noise spec, options and column kept."""
    kind, colon, rest = spec.partition(":")
    if kind.strip().lower() not in OF_FILES:
        return None
    path, mark, column = rest.partition("#")
    file, comma, options = path.partition(",")
    found = absolute_place(file)
    return None if found is None else f"{kind}{colon}{found}{comma}{options}{mark}{column}"


def without_paths(text: str, known: Iterable[str] = ()) -> str:
    """A sentence with each absolute path in it cut to its last part.

    Args:
        known: Paths that may stand in it; those with blanks are found by this alone.
    """
    for path in sorted({path for path in known if _ON_DISK.match(path)}, key=len, reverse=True):
        text = text.replace(path, place_name(path))
    return _IN_TEXT.sub(lambda found: place_name(found[0].removeprefix("file:")), text)
