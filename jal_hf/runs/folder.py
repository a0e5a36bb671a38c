"""A run's output folder: what may be there before a run starts, and where it goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from jal_hf.ground.files import check_writable, refuse_links
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.runs.lock import LOCK
from jal_hf.runs.marker import is_marked
from jal_hf.runs.replacement import (
    ASIDE,
    MOVING,
    OWN_FILES,
    OWN_FOLDERS,
    bring_back,
    holds_replaced,
    move_aside,
)
from jal_hf.training.checkpoints import (
    BEGUN,
    checkpoint_folders,
    damage,
    is_complete,
    is_own,
    named_like_checkpoints,
    remove_checkpoint,
    step_of,
)
from jal_hf.training.checkpoints import MARKER as WHOLE

logger = logging.getLogger(__name__)


def check_place(folder: Path, more: Iterable[str] = ()) -> None:
    """Check that a run may be begun in a folder, changing nothing.

    Args:
        more: Names of files and folders that this run writes beside those of any run.

    Raises:
        NotADirectoryError: The path, or a part of it, is a file.
        PermissionError: Nothing can be written there.
        FileExistsError: It holds files that no run of this package wrote, and that would be written over.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"The output folder {folder} is a file; choose another --output_dir.")
    check_writable(folder)
    refuse_foreign_files(folder, more)


def find_start(folder: Path, *, overwrite: bool, resume: str | None) -> str | None:
    """Find the checkpoint to go on from, in a folder that is held.

    What a kill left half-way between two places is put back first. A damaged checkpoint is renamed, so that it never
    counts again, and the whole one before it takes its place.

    Args:
        overwrite: An earlier run's files will be moved out of the way.
        resume: None, 'auto' for the last whole checkpoint if there is one, or a checkpoint's folder.

    Returns:
        Folder of the checkpoint to resume from, or None for a fresh start.

    Raises:
        FileExistsError: The folder holds a run, finished or not, and neither overwrite nor resume was asked; or
            something that is not ours where a checkpoint would be written.
        FileNotFoundError: The checkpoint to resume from isn't there.
        ValueError: It is damaged.
    """
    if bring_back(folder):
        logger.warning("The run in %s is back: its replacement ended before its first checkpoint.", folder)
    start: Path | None = None
    if overwrite:
        pass
    elif resume == "auto":
        start = last_undamaged_checkpoint(folder)
    elif resume is not None:
        start = named_checkpoint(Path(resume))
    elif (folder / RECORD).exists():
        raise FileExistsError(
            f"{folder} already holds a finished run. Choose another --output_dir, or pass --overwrite "
            "(overwrite=True) to replace it."
        )
    elif any(map(is_complete, checkpoint_folders(folder))):
        raise FileExistsError(
            f"{folder} holds an unfinished run with checkpoints. Pass --resume auto (resume='auto') to go on "
            "with it, or --overwrite (overwrite=True) to start again."
        )
    refuse_foreign_checkpoints(folder, start)
    return None if start is None else str(start)


def last_undamaged_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that is whole, or None; later ones that are damaged are renamed, which is said."""
    complete = [path for path in checkpoint_folders(folder) if is_complete(path)]
    found: list[str] = []
    start: Path | None = None
    for checkpoint in reversed(complete):
        reason = damage(checkpoint)
        if reason is None:
            start = checkpoint
            break
        _set_aside(checkpoint)
        found.append(f"{checkpoint.name} is damaged ({reason}) and is now damaged-{checkpoint.name}")
    if found:
        going_on = (
            "none before it is whole: starting again" if start is None else f"going on from {start.name}"
        )
        logger.warning("%s; %s.", "; ".join(found), going_on)
    return start


def named_checkpoint(checkpoint: Path) -> Path:
    """A checkpoint that somebody asked to go on from.

    Raises:
        FileNotFoundError: It isn't there or isn't whole.
        ValueError: It is damaged, or the folder of a run.
    """
    if not checkpoint.is_dir():
        raise FileNotFoundError(f"There is no checkpoint folder {checkpoint} to resume from.")
    inside = [path for path in checkpoint_folders(checkpoint) if is_complete(path)]
    if inside:
        raise ValueError(
            f"{checkpoint} is a run's folder, not a checkpoint. Name the checkpoint, such as {inside[-1]}; to go on "
            "with the run in its own folder, pass --resume auto (resume='auto')."
        )
    is_of_others = (checkpoint / "trainer_state.json").is_file() and not (checkpoint / BEGUN).exists()
    if not is_complete(checkpoint) and not is_of_others:
        raise FileNotFoundError(
            f"The checkpoint {checkpoint} is not whole: it was cut off while it was written. Pass --resume auto "
            "(resume='auto') to go on from the last whole one."
        )
    reason = damage(checkpoint)
    if reason is not None:
        raise ValueError(
            f"The checkpoint {checkpoint} is damaged: {reason}. Pass --resume auto (resume='auto') to go on "
            "from the last whole one."
        )
    return checkpoint


def refuse_foreign_files(folder: Path, more: Iterable[str] = ()) -> None:
    """Nothing is written over that no run of this package wrote.

    Args:
        more: Names beside those that any run writes.

    Raises:
        FileExistsError: The folder holds such a file and neither our marker nor the record of a run; or a link in
            the place of a folder of ours.
    """
    refuse_links(folder, (*OWN_FILES, *OWN_FOLDERS, "finetune", *more, ASIDE, MOVING, LOCK))
    if is_ours(folder):
        return
    there = [name for name in (*OWN_FILES, *OWN_FOLDERS, *more) if (folder / name).exists()]
    there += [path.name for path in named_like_checkpoints(folder)]
    if there:
        raise FileExistsError(
            f"{folder} holds {there[0]}, and no run of jal_hf was begun there, so it is left alone. Choose another "
            "--output_dir."
        )


def refuse_foreign_checkpoints(folder: Path, start: Path | None) -> None:
    """Nothing that is not ours lies where a checkpoint will be written.

    Raises:
        FileExistsError: Something named checkpoint-N, beyond the start, that this package did not write.
    """
    first = -1 if start is None else step_of(start) if start.parent == folder else -1
    for path in named_like_checkpoints(folder):
        if step_of(path) > first and not is_own(path):
            raise FileExistsError(
                f"{path} was not written by this version of jal_hf, or was cut off by a kill of an older one; it is "
                "left alone. Move it away, or choose another --output_dir."
            )


def is_ours(folder: Path) -> bool:
    """Whether a run was begun in the folder: by its marker, or by the record or a checkpoint that older runs left."""
    if is_marked(folder) or holds_replaced(folder):
        return True
    if any((checkpoint / WHOLE).is_file() for checkpoint in checkpoint_folders(folder)):
        return True
    try:
        RunRecord.read(folder)
    except (FileNotFoundError, ValueError):
        return False
    return True


def clear_the_way(folder: Path, *, overwrite: bool, resume: str | None) -> None:
    """Move an earlier run aside, or remove what a kill left of a checkpoint; called when the new run stands."""
    if overwrite:
        move_aside(folder)
        return
    for checkpoint in checkpoint_folders(folder):
        if is_complete(checkpoint) or not is_own(checkpoint):
            continue
        if (checkpoint / WHOLE).exists():
            logger.warning(
                "%s does not fit its %s; it is kept as %s.", checkpoint, WHOLE, _set_aside(checkpoint).name
            )
        else:
            if any(checkpoint.iterdir()):
                logger.warning("%s was cut off while it was written and is removed.", checkpoint)
            remove_checkpoint(checkpoint)


def _set_aside(checkpoint: Path) -> Path:
    """Rename a damaged checkpoint, so that it never counts again and is not lost."""
    number, place = 1, checkpoint.with_name(f"damaged-{checkpoint.name}")
    while place.exists() or place.is_symlink():
        number += 1
        place = checkpoint.with_name(f"damaged-{checkpoint.name}-{number}")
    return checkpoint.rename(place)
