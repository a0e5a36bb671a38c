"""A run in place of another: the earlier one lies aside until the new one is whole, and comes back where it fails."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from jal_hf.ground.record import RECORD
from jal_hf.ground.run_log import LOG
from jal_hf.runs.marker import MARKER
from jal_hf.training.checkpoints import checkpoint_folders, is_own, last_complete_checkpoint

logger = logging.getLogger(__name__)

OWN_FILES = (
    RECORD,
    LOG,
    "README.md",
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    MARKER,
)
OWN_FOLDERS = ("plots", "audit")
EVENTS = "runs"
"""Where transformers puts the events for TensorBoard; other runs may lie in a folder of that name."""
ASIDE = ".replaced"
MOVING = ".replacing"
"""The earlier run's folder while it is moved, in either direction."""


def move_aside(folder: Path) -> None:
    """Move what an earlier run wrote, and nothing else, out of the new one's way.

    Where a run lies aside already, its replacement never ended and gives way; where that one did end, the older goes.
    """
    if _is_folder(folder / ASIDE):
        if not (folder / RECORD).is_file():
            _remove_own(folder)
            return
        shutil.rmtree(folder / ASIDE)
    (folder / MOVING).mkdir(exist_ok=True)
    for path in _own(folder):
        os.replace(path, folder / MOVING / path.name)
    for path in event_folders(folder):
        (folder / MOVING / EVENTS).mkdir(exist_ok=True)
        os.replace(path, folder / MOVING / EVENTS / path.name)
    _remove_empty(folder / EVENTS)
    os.replace(folder / MOVING, folder / ASIDE)


def bring_back(folder: Path) -> bool:
    """Put the earlier run back where its replacement has no whole checkpoint yet; whether that was done.

    Called when a run fails, and when one starts: a kill may have come in the middle of a move.
    """
    if _is_folder(folder / MOVING):
        _move_back(folder)
        return True
    if not _is_folder(folder / ASIDE) or (folder / RECORD).is_file() or last_complete_checkpoint(folder):
        return False
    _remove_own(folder)
    os.replace(folder / ASIDE, folder / MOVING)
    _move_back(folder)
    return True


def after_failure(folder: Path) -> None:
    """Say where the earlier run is now that its replacement has failed."""
    if bring_back(folder):
        logger.warning("The run that was to be replaced is back in %s.", folder)
    elif _is_folder(folder / ASIDE):
        logger.warning("The run that is being replaced lies in %s until this one ends.", folder / ASIDE)


def forget_replaced(folder: Path) -> None:
    """Remove the run that was moved aside, now that the new one is whole."""
    if _is_folder(folder / ASIDE):
        shutil.rmtree(folder / ASIDE)


def event_folders(folder: Path) -> list[Path]:
    """The folders in which runs of ours reported to TensorBoard: events alone, that begin with our arguments.

    Other programs write to folders of the same names where they are started in this one.
    """
    if not _is_folder(folder / EVENTS):
        return []
    found = []
    for path in sorted(folder.joinpath(EVENTS).iterdir()):
        files = [file for file in path.rglob("*") if not file.is_dir()] if _is_folder(path) else []
        is_all = all(file.name.startswith("events.out.tfevents") for file in files)
        if files and is_all and (path.name == "audit" or any(map(_tells_our_arguments, files))):
            found.append(path)
    return found


def _tells_our_arguments(events: Path) -> bool:
    with events.open("rb") as file:
        return b'"on_nonfinite"' in file.read(1_000_000)


def holds_replaced(folder: Path) -> bool:
    """Whether a run lies aside, or half-way there."""
    return any(_is_folder(folder / name) for name in (ASIDE, MOVING))


def _move_back(folder: Path) -> None:
    for path in event_folders(folder / MOVING):
        (folder / EVENTS).mkdir(exist_ok=True)
        if not (folder / EVENTS / path.name).exists():
            os.replace(path, folder / EVENTS / path.name)
    _remove_empty(folder / MOVING / EVENTS)
    for path in (folder / MOVING).iterdir():
        if not (folder / path.name).exists():
            os.replace(path, folder / path.name)
    _remove_empty(folder / MOVING)  # what another program put in its place meanwhile is left alone


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _remove_own(folder: Path) -> None:
    for path in [*_own(folder), *event_folders(folder)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    _remove_empty(folder / EVENTS)


def _own(folder: Path) -> list[Path]:
    named = [folder / name for name in (*OWN_FILES, *OWN_FOLDERS)] + sorted(
        folder.glob("model-*-of-*.safetensors")
    )
    named += [path for path in checkpoint_folders(folder) if is_own(path)]
    return [path for path in named if path.exists() and not path.is_symlink()]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
