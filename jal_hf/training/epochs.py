"""The epoch number, brought to every part that draws from it."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_INNER = ("base_dataloader", "batch_sampler", "sampler")


class EpochCallback(TrainerCallback):
    """Tells the training dataset and the shuffling sampler which epoch starts.

    Accelerate's data loader passes the epoch on to the dataset or to the sampler, not to both, when batches are
    sharded over processes or skipped on resume: augmentation would repeat its first epoch, and a run resumed in
    the middle of an epoch would see another order.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
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
        set_epoch_everywhere(train_dataloader, int(state.epoch or 0))


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
