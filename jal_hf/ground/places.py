"""Where data and weights come from, as names that may be published: never a way through somebody's disk."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_PREFIXED = re.compile(r"^(webvision|clothing1m|local-dir|transformers):(.+)$")
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
    """A noise spec with its file by name: `human:/home/me/x.parquet#worse` is `human:x.parquet#worse`."""
    kind, colon, rest = spec.partition(":")
    path, mark, column = rest.partition("#")
    return f"{kind}{colon}{place_name(path)}{mark}{column}"
