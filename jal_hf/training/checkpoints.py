"""Checkpoints that are whole or do not count, and the removal of old ones."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jal_hf.ground.files import flush, read_object, write_json

MARKER = "complete.json"
"""Written last into a checkpoint: size and SHA-256 of each of its files. A checkpoint without it was cut off."""
BEGUN = "begun.json"
"""Written first into a checkpoint: shows that it is ours, also where a kill cuts it off."""

_NAME = re.compile(r"checkpoint-(\d{1,18})")
_STATE = "trainer_state.json"
_CHUNK = 1 << 20


def checkpoint_folders(folder: Path) -> list[Path]:
    """All folders named checkpoint-N, whole or not, by N; links are left out, for what is behind them is not ours."""
    return [path for path in named_like_checkpoints(folder) if path.is_dir() and not path.is_symlink()]


def named_like_checkpoints(folder: Path) -> list[Path]:
    """Everything named checkpoint-N, links and files too, by N."""
    if not folder.is_dir():
        return []
    return sorted((child for child in folder.iterdir() if _NAME.fullmatch(child.name)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a folder checkpoint-N was written after."""
    found = _NAME.fullmatch(checkpoint.name)
    if found is None:
        raise ValueError(f"{checkpoint} is not named checkpoint-N.")
    return int(found.group(1))


def is_checkpoint_of(path: Path, folder: Path) -> bool:
    """Whether a path is that of one of the folder's checkpoints, there or not."""
    return path.parent == folder and _NAME.fullmatch(path.name) is not None


def is_own(checkpoint: Path) -> bool:
    """Whether a save of this package began the folder; an empty one is nobody's loss."""
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        return False
    return any((checkpoint / name).is_file() for name in (BEGUN, MARKER)) or not any(checkpoint.iterdir())


def is_complete(checkpoint: Path) -> bool:
    """Whether every file that the marker names is there with the size that it had."""
    files = _marked(checkpoint)[0]
    return bool(files) and all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size
        for name, size in files.items()
    )


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint that is complete by sizes, or None.

    Every file is compared with the SHA-256 that the marker keeps. Markers of version 0.1 keep sizes alone; there,
    and in checkpoints of other programs, it is looked at whether the files can be read at all.
    """
    digests = _marked(checkpoint)[1]
    for name, digest in digests.items():
        if file_digest(checkpoint / name) != digest:
            return f"{name} is not what was written"
    return None if digests else _unreadable(checkpoint)


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the latest step that is whole by its files' sizes, or None."""
    complete = [checkpoint for checkpoint in checkpoint_folders(folder) if is_complete(checkpoint)]
    return complete[-1] if complete else None


def begin_checkpoint(checkpoint: Path) -> None:
    """Make a checkpoint's folder, which counts as cut off from now on until it is marked.

    Raises:
        FileExistsError: Something that is not ours lies in its place.
    """
    if (checkpoint.exists() or checkpoint.is_symlink()) and not is_own(checkpoint):
        raise FileExistsError(f"{checkpoint} was not written by jal_hf and is left alone; move it away.")
    (checkpoint / MARKER).unlink(missing_ok=True)
    checkpoint.mkdir(parents=True, exist_ok=True)
    write_json(checkpoint / BEGUN, {"step": step_of(checkpoint)})


def mark_complete(checkpoint: Path) -> None:
    """Flush a checkpoint's files to the disk, then write the marker in one step.

    The digests take about half the time that writing the files took, on a processor with instructions for SHA-256.
    """
    sizes, digests = {}, {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != MARKER:
            flush(path)
            name = path.relative_to(checkpoint).as_posix()
            sizes[name], digests[name] = path.stat().st_size, file_digest(path)
    write_json(checkpoint / MARKER, {"step": step_of(checkpoint), "files": sizes, "sha256": digests})
    flush(checkpoint)


def remove_checkpoint(checkpoint: Path) -> None:
    """Remove a checkpoint, its marker first, so that a half-removed one neither counts as whole nor as foreign."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    for path in checkpoint.iterdir():
        if path.name != BEGUN:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (checkpoint / BEGUN).unlink(missing_ok=True)
    checkpoint.rmdir()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _marked(checkpoint: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Sizes and digests that a marker keeps; none where it is no marker at all."""
    try:
        content = read_object(checkpoint / MARKER)
    except (OSError, ValueError):
        return {}, {}
    files, digests = content.get("files"), content.get("sha256", {})
    if not isinstance(files, dict) or not isinstance(digests, dict):
        return {}, {}
    names = {*files, *digests}
    inside = all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names)
    plain = all(type(size) is int for size in files.values()) and all(map(_is_text, digests.values()))
    whole = not digests or set(digests) == set(files)
    return (files, digests) if inside and plain and whole else ({}, {})


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _unreadable(checkpoint: Path) -> str | None:
    """The first of a checkpoint's files that cannot be read, or None; nothing in them is unpickled here."""
    try:
        state = read_object(checkpoint / _STATE)
    except (OSError, ValueError):
        return f"{_STATE} cannot be read"
    if type(state.get("global_step")) is not int or state["global_step"] < 0:
        return f"{_STATE} names no step"
    for path in sorted(checkpoint.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError:
            return f"{path.name} cannot be read"
    for path in sorted([*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth"), *checkpoint.glob("*.bin")]):
        if not _is_whole_archive(path):
            return f"{path.name} cannot be read"
    return None


def _is_whole_archive(path: Path) -> bool:
    """Whether a file of `torch.save` is a zip archive whose check sums agree."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error):
        return False


class CheckpointCallback(TrainerCallback):
    """Marks a checkpoint when all processes have written their part, and only then removes the oldest.

    Args:
        limit: How many checkpoints stay, the best one aside; None keeps all. The Trainer's own limit must be off:
            it removes the old checkpoint before other processes have finished the new one.
        seconds: A checkpoint is also due at the end of the step in which so much time has passed since the last one.
        clock: Gives seconds; the first process's counts for all.
    """

    def __init__(
        self, limit: int | None, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self.clock = clock
        self._saved_at = 0.0
        self.resumed_from_step: int | None = None
        self.has_begun = False
        """Whether a step has begun since training was started or resumed."""
        self._saved_step: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._saved_step = self.resumed_from_step = state.global_step or None
        self._saved_at = self.clock()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.has_begun = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.seconds is not None and self._is_due(args):
            control.should_save = True
        self.on_epoch_end(args, state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._saved_step == state.global_step:
            # Writing over a whole checkpoint of the same step would leave none for a moment.
            control.should_save = False

    def _is_due(self, args: TrainingArguments) -> bool:
        due = torch.tensor(float(self.clock() - self._saved_at >= (self.seconds or 0.0)), device=args.device)
        # Clocks differ from process to process, and all must save after the same step.
        return bool(broadcast(due) if args.world_size > 1 else due)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._saved_step = state.global_step
        self._saved_at = self.clock()
        processes = args.distributed_state
        if processes is not None:
            processes.wait_for_everyone()
        if args.should_save:
            folder = Path(args.output_dir)
            current = folder / f"checkpoint-{state.global_step}"
            mark_complete(current)
            self._remove_old(folder, {current.name, Path(state.best_model_checkpoint or "none").name})
        if processes is not None:
            processes.wait_for_everyone()

    def _remove_old(self, folder: Path, protected: set[str]) -> None:
        if not self.limit or self.limit < 0:
            return
        folders = [path for path in checkpoint_folders(folder) if is_own(path)]
        surplus = len(folders) - max(self.limit, len(protected & {path.name for path in folders}))
        for checkpoint in [path for path in folders if path.name not in protected][: max(0, surplus)]:
            remove_checkpoint(checkpoint)
