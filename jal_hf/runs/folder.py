"""A run's output folder: what may be there before a run starts, where it goes on, and what is moved out of its way."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jal_hf.ground.record import LOG, RECORD, RunRecord
from jal_hf.runs.config import RunConfig
from jal_hf.runs.marker import MARKER, is_marked
from jal_hf.training.checkpoints import (
    MARKER as WHOLE,
)
from jal_hf.training.checkpoints import (
    checkpoint_folders,
    is_complete,
    last_complete_checkpoint,
    remove_checkpoint,
)

logger = logging.getLogger(__name__)

OWN_FILES = (
    RECORD,
    LOG,
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
)
OWN_FOLDERS = ("plots", "audit")
LOCK = ".jal_hf.lock"
ASIDE = ".replaced"


def find_start(folder: Path, *, overwrite: bool, resume: str | None) -> str | None:
    """Check a run's folder, changing nothing in it, and find the checkpoint to go on from.

    Args:
        overwrite: An earlier run's files will be moved out of the way.
        resume: None, 'auto' for the last whole checkpoint if there is one, or a checkpoint's folder.

    Returns:
        Folder of the checkpoint to resume from, or None for a fresh start.

    Raises:
        FileExistsError: The folder holds a run, finished or not, and neither overwrite nor resume was asked; or
            files that are not of a run and would be written over.
        FileNotFoundError: The checkpoint to resume from isn't there.
        NotADirectoryError: The path is a file.
        PermissionError: Nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"The output folder {folder} is a file; choose another --output_dir.")
    check_writable(folder)
    refuse_foreign_files(folder)
    if overwrite:
        return None
    if resume == "auto":
        last = last_complete_checkpoint(folder)
        return None if last is None else str(last)
    if resume is not None:
        return _named_checkpoint(Path(resume))
    if (folder / RECORD).exists():
        raise FileExistsError(
            f"{folder} already holds a finished run. Choose another --output_dir, or pass --overwrite to replace it."
        )
    if checkpoint_folders(folder):
        raise FileExistsError(
            f"{folder} holds an unfinished run with checkpoints. Pass --resume auto to go on with it, "
            "or --overwrite to start again."
        )
    return None


def refuse_foreign_files(folder: Path) -> None:
    """Nothing is written over that no run of this package wrote.

    Raises:
        FileExistsError: The folder holds such a file and neither our marker nor the record of a run.
    """
    if is_ours(folder):
        return
    there = [name for name in (*OWN_FILES, *OWN_FOLDERS) if (folder / name).exists()]
    there += [path.name for path in checkpoint_folders(folder)]
    if there:
        raise FileExistsError(
            f"{folder} holds {there[0]}, and no run of jal_hf was begun there, so it is left alone. Choose another "
            "--output_dir."
        )


def is_ours(folder: Path) -> bool:
    """Whether a run was begun in the folder: by its marker, or by the record or a checkpoint that older runs left."""
    if is_marked(folder) or any((checkpoint / WHOLE).is_file() for checkpoint in checkpoint_folders(folder)):
        return True
    try:
        RunRecord.read(folder)
    except (FileNotFoundError, ValueError):
        return False
    return True


def has_reached(config: RunConfig) -> bool:
    """Whether `resume auto` was asked for a run that has reached the end that is asked for now."""
    training = config.training
    folder = config.output_dir
    if training.get("resume_from_checkpoint") != "auto" or training.get("overwrite"):
        return False
    if not (folder / RECORD).is_file():
        return False
    done = RunRecord.read(folder).training
    steps = int(training.get("max_steps") or 0)
    if steps > 0:
        return bool(done["steps"] >= steps)
    return bool(done["epochs"] >= float(training.get("num_train_epochs") or 3.0) - 1e-6)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder against a second training; the lock ends with the process that holds it.

    Raises:
        FileExistsError: Another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileExistsError(
            f"Another process is training in {folder}. Wait for it, or choose another --output_dir."
        ) from error
    try:
        yield
    finally:
        lock.release()
        (folder / LOCK).unlink(missing_ok=True)


def clear_the_way(folder: Path, *, overwrite: bool, resume: str | None) -> None:
    """Move an earlier run aside, or remove what a kill left of a checkpoint; called when the new run stands."""
    if overwrite:
        _move_aside(folder)
    elif resume is not None:
        _remove_cut_off(folder)


def forget_replaced(folder: Path) -> None:
    """Remove the run that was moved aside, now that the new one is whole."""
    if (folder / ASIDE).is_dir() and not (folder / ASIDE).is_symlink():
        shutil.rmtree(folder / ASIDE)


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
        raise NotADirectoryError(f"A part of the path {folder} is a file; choose another --output_dir.")
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".write-test-"):
            pass
    except OSError as error:
        raise PermissionError(
            f"The output folder {folder} cannot be written ({error.strerror}). Choose another --output_dir, "
            "or make it writable."
        ) from error


def _named_checkpoint(checkpoint: Path) -> str:
    if not checkpoint.is_dir():
        raise FileNotFoundError(f"There is no checkpoint folder {checkpoint} to resume from.")
    if not is_complete(checkpoint) and not (checkpoint / "trainer_state.json").is_file():
        raise FileNotFoundError(
            f"The checkpoint {checkpoint} is not whole: it was cut off while it was written. Pass --resume auto to go "
            "on from the last whole one."
        )
    return str(checkpoint)


def _remove_cut_off(folder: Path) -> None:
    """Remove checkpoints that a kill cut off; those of another program, which know no marker, only don't count."""
    for checkpoint in checkpoint_folders(folder):
        if is_complete(checkpoint):
            continue
        if not is_marked(folder) or (
            (checkpoint / "trainer_state.json").is_file() and not (checkpoint / WHOLE).exists()
        ):
            logger.warning("%s has no %s and doesn't count as whole; it is left alone.", checkpoint, WHOLE)
        else:
            logger.warning("%s was cut off while it was written and is removed.", checkpoint)
            remove_checkpoint(checkpoint)


def _move_aside(folder: Path) -> None:
    """Move what an earlier run wrote, and nothing else, out of the new one's way.

    What already lies aside is the last whole run, if a replacement of it never ended; it stays then.
    """
    if not is_ours(folder):
        return
    aside = folder / ASIDE
    kept = aside.is_dir() and (aside / RECORD).is_file()
    own = [folder / name for name in (*OWN_FILES, *OWN_FOLDERS)] + checkpoint_folders(folder)
    found = [path for path in own if path.exists() and not path.is_symlink()]
    if kept:
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    aside.mkdir(exist_ok=True)
    for path in found:
        os.replace(path, aside / path.name)
    (folder / MARKER).unlink(missing_ok=True)
