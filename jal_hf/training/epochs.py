"""The epoch number, brought to every part that draws from it, and a sampler that does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_pt_utils import LengthGroupedSampler

_INNER = ("base_dataloader", "batch_sampler", "sampler")


class EpochCallback(TrainerCallback):
    """Tells the training dataset and the shuffling sampler which epoch starts.

    Accelerate's data loader passes the epoch on to the dataset or to the sampler, not to both, when batches are
    sharded over processes or skipped on resume: augmentation would repeat its first epoch, and a run resumed in
    the middle of an epoch would see another order.
    """

    def __init__(self) -> None:
        self._epoch: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._epoch = None
        # The parent trains one step too many when it resumes after the last step of a run that ends within an epoch.
        if 0 < state.max_steps <= state.global_step:
            control.should_training_stop = True

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        # A stream's passes are no whole epochs of the state, whose fraction is of all steps; so they are counted.
        self._epoch = int(state.epoch or 0) if self._epoch is None else self._epoch + 1
        set_epoch_everywhere(train_dataloader, self._epoch)


class LengthGroupsByEpoch(LengthGroupedSampler):  # type: ignore[misc]
    """Rows of about the same length side by side, in an order that (seed, epoch) alone decides.

    The parent's draws from torch's global generator, whose state is another one on each process and after a resume.

    Args:
        lengths: Of the rows.
        batch_size: Rows of an optimizer step on all processes together.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        rows: Iterator[int] = super().__iter__()
        return rows


def place_in_stream(checkpoint: Path, accumulation_steps: int) -> tuple[int, int]:
    """Passes over a stream that a checkpoint had finished, and batches of the next one that it had trained on.

    The Trainer, which knows no length of a stream, takes all steps for one pass and would skip their batches in the
    first; but it notes the pass and the batches, as a share of all steps, in the state's epoch.

    Args:
        checkpoint: Folder of the checkpoint.
        accumulation_steps: Batches in an optimizer step.
    """
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    passes = int(state.epoch or 0)
    return passes, round(((state.epoch or 0) - passes) * state.max_steps * accumulation_steps)


def set_epoch_everywhere(dataloader: Any, epoch: int) -> None:
    """Call `set_epoch` of a data loader, its dataset and each sampler in it that has one."""
    dataset = getattr(dataloader, "dataset", None)
    if dataset is not None and hasattr(dataset, "set_epoch"):
        dataset.set_epoch(epoch)
    seen: set[int] = set()
    waiting = [dataloader]
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
        waiting += [getattr(part, name, None) for name in _INNER]
