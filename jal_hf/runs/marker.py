"""The marker of a run's folder: what shows that it is ours, and what the run knows that is nobody else's business."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jal_hf.ground.files import JsonObject, read_object, write_json

MARKER = ".jal_hf.json"


def mark_folder(
    folder: str | os.PathLike[str],
    paths: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the marker, which is never shared.

    Args:
        paths: Where data and weights lie on this machine, by field.
        settings: What a training began with, for one that goes on with it.
    """
    content: JsonObject = {"format": 1, "place": str(Path(folder).resolve()), "paths": dict(paths or {})}
    return write_json(
        Path(folder) / MARKER, {**content, **({"settings": dict(settings)} if settings else {})}
    )


def is_marked(folder: str | os.PathLike[str]) -> bool:
    """Whether a run of this package was begun in the folder."""
    return (Path(folder) / MARKER).is_file()


def made_here(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder lies where its run was made: one that came from elsewhere does not."""
    return is_marked(folder) and read_object(Path(folder) / MARKER).get("place") == str(
        Path(folder).resolve()
    )


def note_push(folder: str | os.PathLike[str], repo_id: str, revision: str | None) -> None:
    """Note where the finished run in the folder was pushed to, so that the same line need not push it again."""
    place = Path(folder) / MARKER
    if is_marked(folder):
        write_json(place, {**read_object(place), "pushed": [repo_id, revision]})


def is_pushed(folder: str | os.PathLike[str], repo_id: str, revision: str | None) -> bool:
    """Whether the run in the folder was pushed there when it ended."""
    return is_marked(folder) and read_object(Path(folder) / MARKER).get("pushed") == [repo_id, revision]


def marked_settings(folder: str | os.PathLike[str]) -> JsonObject:
    """What the training in the folder began with; empty where nothing is known."""
    settings = read_object(Path(folder) / MARKER).get("settings") if is_marked(folder) else None
    return settings if isinstance(settings, dict) else {}


def marked_paths(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Where a run's data and weights lie on this machine, by field; empty where nothing is known."""
    if not is_marked(folder):
        return {}
    paths = read_object(Path(folder) / MARKER).get("paths")
    return {str(name): str(path) for name, path in paths.items()} if isinstance(paths, dict) else {}
