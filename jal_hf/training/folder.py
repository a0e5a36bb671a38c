"""A run's output folder: what may be there before a run starts, and where it goes on."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.checkpoints import (
    MARKER,
    checkpoint_folders,
    is_complete,
    last_complete_checkpoint,
    remove_checkpoint,
)
from jal_hf.training.record import read_record

logger = logging.getLogger(__name__)

_OWN_FILES = (
    "run.json",
    "log.jsonl",
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
)


def prepare_folder(folder: Path, *, overwrite: bool, resume: str | None) -> str | None:
    """Check a run's folder and find the checkpoint to go on from.

    Checkpoints that a kill cut off are never gone on from; with resume 'auto' what a cut-off one left is removed.

    Args:
        overwrite: Remove an earlier run's files first.
        resume: None, 'auto' for the last whole checkpoint if there is one, or a checkpoint's folder.

    Returns:
        Folder of the checkpoint to resume from, or None for a fresh start.

    Raises:
        FileExistsError: The folder holds a run, finished or not, and neither overwrite nor resume was asked.
        FileNotFoundError: The checkpoint to resume from isn't there.
        NotADirectoryError: The path is a file.
        PermissionError: Nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"The output folder {folder} is a file; choose another --output_dir.")
    check_writable(folder)
    if overwrite:
        _clear(folder)
        return None
    if resume == "auto":
        _remove_cut_off(folder)
        last = last_complete_checkpoint(folder)
        return None if last is None else str(last)
    if resume is not None:
        return _named_checkpoint(Path(resume))
    if (folder / "run.json").exists():
        raise FileExistsError(
            f"{folder} already holds a finished run. Choose another --output_dir, or pass --overwrite to replace it."
        )
    if checkpoint_folders(folder):
        raise FileExistsError(
            f"{folder} holds an unfinished run with checkpoints. Pass --resume auto to go on with it, "
            "or --overwrite to start again."
        )
    return None


def already_finished(args: JALTrainingArguments) -> bool:
    """Whether `resume auto` was asked for a run that has reached the end that is asked for now."""
    folder = Path(str(args.output_dir))
    if args.resume_from_checkpoint != "auto" or args.overwrite or not (folder / "run.json").is_file():
        return False
    done = read_record(folder)["training"]
    if args.max_steps > 0:
        return bool(done["steps"] >= args.max_steps)
    return bool(done["epochs"] >= args.num_train_epochs - 1e-6)


def check_writable(folder: Path) -> None:
    """Create the folder and a file in it, so that a run that could not save anything never starts.

    Raises:
        PermissionError: The folder or its disk is read-only, or belongs to somebody else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
            pass
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise NotADirectoryError(
                f"A part of the path {folder} is a file; choose another --output_dir."
            ) from error
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
        if (checkpoint / "trainer_state.json").is_file() and not (checkpoint / MARKER).exists():
            logger.warning("%s has no %s and doesn't count as whole; it is left alone.", checkpoint, MARKER)
        else:
            logger.warning("%s was cut off while it was written and is removed.", checkpoint)
            remove_checkpoint(checkpoint)


def _clear(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    for checkpoint in checkpoint_folders(folder):
        remove_checkpoint(checkpoint)
    for name in ("plots", "audit"):
        shutil.rmtree(folder / name, ignore_errors=True)
