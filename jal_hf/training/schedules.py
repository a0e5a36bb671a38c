"""Learning-rate schedules that step once an epoch, as the papers' loops do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import TrainingArguments

EPOCH_SCHEDULES = ("cosine_epoch", "exponential_epoch", "step_epoch")


def epoch_factor(name: str, epochs: float, options: Mapping[str, Any]) -> Callable[[int], float]:
    """The factor on the base learning rate as a function of the epoch, counted from 0.

    Args:
        name: One of `EPOCH_SCHEDULES`.
        epochs: Length of the training in epochs.
        options: `gamma` for exponential_epoch (default 0.97); `milestones` and `gamma` (default 0.1) for
            step_epoch; none for cosine_epoch, which runs to 0.

    Raises:
        ValueError: Unknown schedule or option.
    """
    allowed = {"cosine_epoch": set(), "exponential_epoch": {"gamma"}, "step_epoch": {"milestones", "gamma"}}
    if name not in allowed:
        raise ValueError(f"Unknown epoch schedule {name!r}. There are: {', '.join(EPOCH_SCHEDULES)}.")
    unknown = sorted(set(options) - allowed[name])
    if unknown:
        known = ", ".join(sorted(allowed[name])) or "none"
        raise ValueError(f"Schedule {name!r} does not take {', '.join(unknown)}. Its options: {known}.")
    if name == "cosine_epoch":
        return lambda epoch: 0.5 * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0)))
    if name == "exponential_epoch":
        gamma = float(options.get("gamma", 0.97))
        return lambda epoch: gamma**epoch
    gamma = float(options.get("gamma", 0.1))
    milestones = [float(milestone) for milestone in options.get("milestones", [])]
    return lambda epoch: gamma ** sum(epoch >= milestone for milestone in milestones)


def check_stream_steps(args: TrainingArguments) -> None:
    """Nothing, where a training on a stream knows how many steps it takes.

    Raises:
        ValueError: It has epochs alone.
    """
    if args.max_steps <= 0:
        rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        raise ValueError(
            f"A stream does not tell how many rows it has, so num_train_epochs={args.num_train_epochs:g} cannot be "
            f"counted in steps. Give max_steps: that is num_train_epochs * rows / {rows} here."
        )


def epoch_lengths(args: TrainingArguments, batches: int | None, steps: int) -> tuple[int, float]:
    """Optimizer steps of an epoch, and the training's length in epochs.

    Args:
        batches: Micro-batches of an epoch on each process, as its loader counts them; None for a stream.
        steps: Optimizer steps of the whole training.
    """
    epochs = float(args.num_train_epochs)
    if batches is None:
        return max(1, round(steps / epochs)), epochs
    steps_per_epoch = max(1, -(-batches // args.gradient_accumulation_steps))
    return steps_per_epoch, steps / steps_per_epoch if args.max_steps > 0 else epochs


def epoch_scheduler(
    optimizer: torch.optim.Optimizer, name: str, steps_per_epoch: int, epochs: float, options: dict[str, Any]
) -> torch.optim.lr_scheduler.LambdaLR:
    """A scheduler stepped every optimizer step whose rate changes only where a new epoch starts."""
    factor = epoch_factor(name, epochs, options)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step // steps_per_epoch))
