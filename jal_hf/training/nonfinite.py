"""A loss that became NaN or infinite: found before it reaches the weights or a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from jal_hf.losses import RobustLoss
from jal_hf.training.checkpoints import last_complete_checkpoint
from jal_hf.training.device_flags import DelayedFlag
from jal_hf.training.failures import NonFiniteLossError
from jal_hf.training.penalty import local

_SHOWN_ROWS = 256


@dataclass(frozen=True)
class MicroBatch:
    """What the sentence needs of a micro-batch without its logits, which can be large."""

    loss: Tensor
    largest: Tensor
    """(N,), largest |logit| of each row; NaN or infinite as soon as one is."""
    index: Tensor | None


@dataclass
class _Step:
    number: int = 0
    parts: list[MicroBatch] = field(default_factory=list)
    last: tuple[Tensor, Tensor] | None = None
    """Logits and labels of the last micro-batch alone, for the loss's components."""
    badness: Tensor | None = None
    """What a captured step found, after which there are no gradients to look at."""


class NonFiniteGuard(TrainerCallback):
    """Stops a run whose loss or gradient is not finite, or leaves that optimizer step out.

    'stop' looks on the CPU before the optimizer step; on CUDA one step later, without stopping the device, and once
    more before a checkpoint is written, so that no checkpoint ever holds a non-finite weight. 'skip' must know before
    the optimizer step, so it waits for the device once a step; a step left out leaves weights, momentum and
    batch-norm statistics as they were.

    Args:
        mode: 'stop' or 'skip'.
        criterion: The loss, for its components.
        sum_over_processes: Adds a scalar over all processes.
    """

    def __init__(
        self, mode: str, criterion: RobustLoss, sum_over_processes: Callable[[Tensor], Tensor]
    ) -> None:
        self.mode = mode
        self.criterion = criterion
        self.sum_over_processes = sum_over_processes
        self.skipped = 0
        """Optimizer steps left out so far, over resumes too."""
        self._left_out_step = 0
        self._step = _Step()
        self._flag = DelayedFlag()
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def watch(self, loss: Tensor, logits: Tensor, labels: Tensor, index: Tensor | None) -> None:
        """Take note of one micro-batch of the current step."""
        largest = torch.linalg.vector_norm(logits.detach().flatten(1), math.inf, dim=1)
        self.take(MicroBatch(loss.detach(), largest, index), (logits.detach(), labels))

    def take(self, part: MicroBatch, last: tuple[Tensor, Tensor], badness: Tensor | None = None) -> None:
        """Take note of a micro-batch, and of what a captured step found of the whole step."""
        self._step.parts.append(part)
        self._step.last, self._step.badness = last, badness

    def take_back(self) -> MicroBatch:
        """The micro-batch noted last, which then counts as not seen."""
        return self._step.parts.pop()

    def badness(self, losses: list[Tensor], model: nn.Module, *, with_gradients: bool = True) -> Tensor:
        """0 where the losses and this process's gradients are finite, else NaN; a scalar on the device."""
        checked = losses + (_gradient_norms(model) if with_gradients else [])
        return (torch.stack([value.float() for value in checked]) * 0.0).sum()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        counts = [line["skipped_steps"] for line in state.log_history if "skipped_steps" in line]
        self.skipped = int(counts[-1]) if counts else 0
        self._step, self._flag, self._left_out_step = _Step(), DelayedFlag(), 0

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        self._step = _Step(state.global_step + 1)
        if self.mode == "skip" and model is not None:
            self._buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if model is None or not self._step.parts:
            return
        bad = self._step.badness
        if bad is None:
            # The gradient scaler of fp16 meets infinite gradients as a matter of course and leaves them out itself.
            losses = [part.loss for part in self._step.parts]
            bad = self.badness(losses, model, with_gradients=not args.fp16)
        self._flag.push(self.sum_over_processes(bad), self._step)
        raised, step = self._flag.read(now=self.mode == "skip")
        if not raised:
            return
        if self.mode == "stop":
            raise NonFiniteLossError(self._sentence(args, state, step))
        self._leave_out(args, model)

    def _leave_out(self, args: TrainingArguments, model: nn.Module) -> None:
        self.skipped += 1
        self._left_out_step = self._step.number
        if not args.fp16:
            # An optimizer passes over parameters without a gradient: no decay, no momentum.
            for parameter in model.parameters():
                parameter.grad = None
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if self._left_out_step == state.global_step:
            # A resume takes the count from the log, so it must be there before any checkpoint.
            control.should_log = True
        if control.should_save and model is not None:
            self._check_weights(args, state, model)

    on_epoch_end = on_step_end

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if model is not None:
            self._check_weights(args, state, model)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        # Whether these weights are the best, and so saved, is only decided after this.
        if model is not None and args.save_strategy == SaveStrategy.BEST:
            self._check_weights(args, state, model)

    def _check_weights(self, args: TrainingArguments, state: TrainerState, model: nn.Module) -> None:
        raised, step = self._flag.read(now=True)
        if raised:
            raise NonFiniteLossError(self._sentence(args, state, step))
        norms = [
            local(tensor).detach().float().abs().sum() for tensor in [*model.parameters(), *model.buffers()]
        ]
        bad = (~torch.isfinite(torch.stack(norms)).all()).float() if norms else torch.zeros(())
        if float(self.sum_over_processes(bad)):
            raise NonFiniteLossError(
                f"The weights are not finite any more after step {state.global_step}, so no checkpoint was written. "
                f"{_kept(args)}"
            )

    def _sentence(self, args: TrainingArguments, state: TrainerState, step: _Step) -> str:
        """What happened, with the indices of the batch over all processes; called on every process at once."""
        indices: list[int] = []
        culprits: list[int] = []
        for part in step.parts:
            finite = torch.isfinite(part.largest).tolist()
            rows = range(len(finite)) if part.index is None else part.index.flatten().tolist()
            indices += rows
            culprits += [row for row, good in zip(rows, finite, strict=True) if not good]
        indices, culprits = gather_object(indices), gather_object(culprits)
        worst = next((part for part in step.parts if not torch.isfinite(part.loss)), step.parts[-1])
        parts = self.criterion.components(*step.last) if step.last is not None else {}
        named = {"training loss": float(worst.loss), **{name: float(value) for name, value in parts.items()}}
        values = ", ".join(f"{name} {value:g}" for name, value in named.items())
        what = "loss" if not all(map(math.isfinite, named.values())) else "gradient"
        where = f" Rows whose logits are not finite: {_listed(culprits)}." if culprits else ""
        return (
            f"The {what} is not finite at step {step.number} (epoch {state.epoch or 0:.2f}). Components of the batch: "
            f"{values}. Indices of the batch: {_listed(indices)}.{where} {_kept(args)}"
        )


def finite_or_zero(loss: Tensor) -> Tensor:
    """The loss, or 0 where it is not finite: for the logged mean."""
    return torch.nan_to_num(loss, nan=0.0, posinf=0.0, neginf=0.0)


def _kept(args: TrainingArguments) -> str:
    last = last_complete_checkpoint(Path(str(args.output_dir)))
    kept = (
        "No checkpoint had been written yet." if last is None else f"{last.name} is the last good checkpoint."
    )
    return f"{kept} Lower the learning rate, check these rows, or pass --on_nonfinite skip to leave such steps out."


def _listed(rows: list[int]) -> str:
    rest = f" and {len(rows) - _SHOWN_ROWS} more" if len(rows) > _SHOWN_ROWS else ""
    return ", ".join(map(str, rows[:_SHOWN_ROWS])) + rest


def _gradient_norms(model: nn.Module) -> list[Tensor]:
    """Norm of this process's share of the gradient; NaN or infinite as soon as one element is."""
    gradients = [local(parameter.grad) for parameter in model.parameters() if parameter.grad is not None]
    # Of a sparse one only the entries that there are; no norm in few operators takes it whole.
    gradients = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
    return [torch.nn.utils.get_total_norm(gradients)] if gradients else []
