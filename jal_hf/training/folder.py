"""A run's output folder: what may be there before a run starts, and where it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

_OWN_FILES = ("run.json", "log.jsonl", "README.md", "config.json", "model.safetensors", "preprocessor_config.json")


def prepare_folder(folder: Path, *, overwrite: bool, resume: str | None) -> str | None:
    """Check a run's folder and find the checkpoint to go on from.

    Args:
        overwrite: Remove an earlier run's files first.
        resume: None, 'auto' for the last checkpoint if there is one, or a checkpoint's folder.

    Returns:
        Folder of the checkpoint to resume from, or None for a fresh start.

    Raises:
        FileExistsError: The folder holds a run, finished or not, and neither overwrite nor resume was asked.
        FileNotFoundError: The checkpoint to resume from isn't there.
        NotADirectoryError: The path is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"The output folder {folder} is a file; choose another --output_dir.")
    if overwrite:
        _clear(folder)
        return None
    if resume == "auto":
        return last_whole_checkpoint(folder)
    if resume is not None:
        if not Path(resume).is_dir():
            raise FileNotFoundError(f"There is no checkpoint folder {resume} to resume from.")
        return resume
    if (folder / "run.json").exists():
        raise FileExistsError(
            f"{folder} already holds a finished run. Choose another --output_dir, or pass --overwrite to replace it."
        )
    if any(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")):
        raise FileExistsError(
            f"{folder} holds an unfinished run with checkpoints. Pass --resume auto to go on with it, "
            "or --overwrite to start again."
        )
    return None


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; None where there is none.

    The Trainer writes `trainer_state.json` last, so a checkpoint that a kill cut off lacks it or holds half of it.
    """
    found = {
        int(path.name.rpartition("-")[2]): path
        for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
        if path.name.rpartition("-")[2].isdigit()
    }
    whole = (str(found[step]) for step in sorted(found, reverse=True) if _is_whole(found[step]))
    return next(whole, None)


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return False
    return True


def _clear(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    if not folder.is_dir():
        return
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    for child in folder.iterdir():
        if child.is_dir() and (child.name.startswith("checkpoint-") or child.name in ("plots", "audit")):
            shutil.rmtree(child)
