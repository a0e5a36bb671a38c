"""Checkpoints that are whole or do not count, and the removal of old ones."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jal_hf.ground.files import flush, write_json

MARKER = "complete.json"
"""Written last into a checkpoint: the sizes of all its files. A checkpoint without it was cut off."""

_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_folders(folder: Path) -> list[Path]:
    """All folders named checkpoint-N, whole or not, by N."""
    if not folder.is_dir():
        return []
    found = [child for child in folder.iterdir() if _NAME.fullmatch(child.name) and child.is_dir()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a folder checkpoint-N was written after."""
    found = _NAME.fullmatch(checkpoint.name)
    if found is None:
        raise ValueError(f"{checkpoint} is not named checkpoint-N.")
    return int(found.group(1))


def is_complete(checkpoint: Path) -> bool:
    """Whether every file that the marker names is there with the size that it had."""
    try:
        content = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    files: dict[str, int] = content.get("files", {})
    return all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size
        for name, size in files.items()
    )


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint of the latest step, or None."""
    complete = [checkpoint for checkpoint in checkpoint_folders(folder) if is_complete(checkpoint)]
    return complete[-1] if complete else None


def mark_complete(checkpoint: Path) -> None:
    """Flush a checkpoint's files to the disk, then write the marker in one step."""
    sizes = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != MARKER:
            flush(path)
            sizes[str(path.relative_to(checkpoint))] = path.stat().st_size
    write_json(checkpoint / MARKER, {"step": step_of(checkpoint), "files": sizes})
    flush(checkpoint)


def remove_checkpoint(checkpoint: Path) -> None:
    """Remove a checkpoint, its marker first, so that a half-removed one does not count as whole."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


class CheckpointCallback(TrainerCallback):
    """Marks a checkpoint when all processes have written their part, and only then removes the oldest.

    Args:
        limit: How many checkpoints stay, the best one aside; None keeps all. The Trainer's own limit must be off:
            it removes the old checkpoint before other processes have finished the new one.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.resumed_from_step: int | None = None
        self._saved_step: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._saved_step = self.resumed_from_step = state.global_step or None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not control.should_save:
            return
        if self._saved_step == state.global_step:
            # Writing over a whole checkpoint of the same step would leave none for a moment.
            control.should_save = False
        elif args.should_save:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARKER).unlink(missing_ok=True)

    on_epoch_end = on_step_end

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._saved_step = state.global_step
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
        folders = checkpoint_folders(folder)
        surplus = len(folders) - max(self.limit, len(protected & {path.name for path in folders}))
        for checkpoint in [path for path in folders if path.name not in protected][: max(0, surplus)]:
            remove_checkpoint(checkpoint)
