"""The captured step: batch, forward, loss, backward, decay, clipping and optimizer on static buffers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jal_hf.data.transfer import to_device
from jal_hf.training.captured.eligibility import has_hooks, optimizer_reason_against, reason_against
from jal_hf.training.captured.planned_images import Plan, PlannedImages
from jal_hf.training.captured.recording import Outcome, Recordings
from jal_hf.training.criterion import label_count
from jal_hf.training.nonfinite import MicroBatch

logger = logging.getLogger(__name__)

# Steps before the first recording: they make the optimizer's state and choose kernels.
WARMUP_STEPS = 3


class CapturedStep:
    """Replays a trainer's own step. On a CPU the same function runs on the same buffers without capture.

    The parent's loop goes on around it: it finds no gradients after a captured step, so its clipping, its optimizer
    step and its zeroing pass over every parameter, and all callbacks, schedules, logs and checkpoints are as ever.
    The first steps of a training and of each phase of its method, steps with a short batch, and steps before which
    somebody has put a hook on the network run eagerly on batches made from the same plans: a recording replays
    kernels, not Python.

    Args:
        trainer: A `RobustTrainer` that `reason_against` has nothing against.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.device: torch.device = trainer.args.device
        self.images = PlannedImages(trainer.train_dataset)
        self.replayed = 0
        """Optimizer steps taken from recordings."""
        self.norm: Tensor | None = None
        """Gradient norm of the last step before clipping, where that step was captured."""
        self.stand_in: dict[str, Tensor] = {}
        """A batch without storage, for what counts its elements."""
        self._labels = trainer.train_dataset.columns["labels"].cpu()
        self._modules = list(trainer.model.modules())
        self._is_watched = False
        self._recordings = Recordings(self.device)
        self._gradients: list[list[Tensor | None]] = []
        self._begun = self._micro_batches = 0
        self._phase: Any = None
        self._refused = False
        rows = trainer.args.train_batch_size
        self._positions = torch.zeros(rows, dtype=torch.int64, device=self.device)
        width = self.images.__getitems__([0])["draws"].shape[1]
        self._draws = torch.zeros(rows, width, dtype=torch.float64, device=self.device)
        self._count = torch.zeros((), device=self.device)
        self._badness = torch.zeros((), device=self.device)
        self._rates: list[Tensor] = []
        self._shown_rates: list[float] = []
        index = trainer.train_dataset.columns.get("index")
        self._index = None if index is None else index.cpu().numpy()
        self._method_draws: dict[str, Tensor] = {}
        self._method_rates: dict[str, Tensor] = {}

    @classmethod
    def for_trainer(cls, trainer: Any) -> CapturedStep | None:
        """The captured step where `--cuda_graph` and the trainer allow one; elsewhere a line says why not.

        Raises:
            ValueError: `--cuda_graph on` where the step cannot be captured.
        """
        asked = trainer.args.cuda_graph
        if asked == "off" or (asked == "auto" and trainer.args.device.type != "cuda"):
            return None
        reason = reason_against(trainer)
        if reason is None:
            return cls(trainer)
        _refuse(asked, reason)
        return None

    def begin(self, plans: list[Plan]) -> tuple[list[dict[str, Any]], Tensor | None]:
        """The micro-batches of an optimizer step, as plans or ready, and what its mean loss divides by."""
        if not plans:
            return [], None
        phase = self.trainer.method.phase(self._progress)
        if phase != self._phase:
            # What was recorded does not do what the method does now.
            self._phase, self._begun = phase, 0
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # nothing of it may still be running
            self._recordings, self._gradients = Recordings(self.device), []
        self._begun += 1
        self._micro_batches, self.norm = 0, None
        counts = [
            label_count(self.trainer.criterion, self._labels[torch.from_numpy(plan["positions"])])
            for plan in plans
        ]
        count = sum(counts[1:], counts[0])
        is_whole = all(len(plan["positions"]) == len(self._positions) for plan in plans)
        if is_whole and self._begun > WARMUP_STEPS and self._is_ready():
            return plans, count
        return [self.images.batch(plan) for plan in plans], to_device(count, self.device)

    def run(self, model: nn.Module, plan: Plan, count: Tensor) -> Tensor:
        """One micro-batch; with the last of a step, the optimizer step too. The loss, a scalar."""
        is_first, is_last = self._micro_batches == 0, bool(self.trainer.accelerator.sync_gradients)
        self._micro_batches += 1
        if is_first:
            self._is_watched = any(map(has_hooks, self._modules))
        if self._is_watched:
            loss: Tensor = self.trainer.eager_step(
                model, self.images.batch(plan), to_device(count, self.device)
            )
            return loss
        self._fill(self._positions, torch.from_numpy(plan["positions"]))
        self._fill(self._draws, torch.from_numpy(plan["draws"]))
        self._fill_draws(plan)
        if is_first:
            self._fill(self._count, count)
            for name, rate in self.trainer.method.rates(self._progress).items():
                # In the precision in which a float meets a tensor of losses.
                static = self._method_rates.setdefault(name, torch.zeros((), device=self.device))
                static.fill_(rate)
        if is_last:
            self._set_rates()
        kind = (is_first, is_last)
        if kind not in self._recordings:
            self._recordings.add(kind, lambda: self._micro_batch(model, is_first=is_first, is_last=is_last))
            # Kept, for a graph writes into them again at every replay.
            self._gradients.append([parameter.grad for parameter in model.parameters()])
        outcome = self._recordings[kind].replay()
        self._tell(outcome)
        if is_last:
            self.norm = outcome.norm
            self.replayed += 1
            for parameter in model.parameters():
                parameter.grad = None
        return outcome.loss

    def _micro_batch(self, model: nn.Module, *, is_first: bool, is_last: bool) -> Outcome:
        """What is recorded: the trainer's own step on a batch made here, then what the parent's loop does after it."""
        trainer = self.trainer
        batch: dict[str, Any] = dict(self.images.images.batch(self._positions, self._draws))
        batch |= {"draws": self._method_draws, "rates": self._method_rates}
        loss = trainer.eager_step(model, batch, self._count)
        part = trainer.guard.take_back()
        logits, labels = trainer.last_step
        self.stand_in = {name: value.to("meta") for name, value in batch.items() if isinstance(value, Tensor)}
        outcome = Outcome(loss, part.largest, part.index, logits, labels)
        badness = part.loss.float() * 0.0
        if is_first:
            self._badness.copy_(badness)
        else:
            self._badness.add_(badness)
        if is_last:
            limit = trainer.args.max_grad_norm
            limit = limit if limit and limit > 0 else float("inf")
            outcome.norm = trainer.accelerator.clip_grad_norm_(model.parameters(), limit)
            outcome.bad = trainer.guard.badness([self._badness], model)
            self._optimizer_step((outcome.bad != 0.0).float())
        return outcome

    def _optimizer_step(self, is_bad: Tensor) -> None:
        """The optimizer's own fused step at rates that lie on the device, left out there where `is_bad` is 1."""
        optimizer = self._optimizer
        groups = optimizer.param_groups
        before = [{name: group.get(name) for name in ("lr", "capturable")} for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate
            if self.device.type == "cuda" and "capturable" in group:
                group["capturable"] = True
        optimizer.found_inf = is_bad
        try:
            optimizer.step()
        finally:
            del optimizer.found_inf
            for group, values in zip(groups, before, strict=True):
                group.update({name: value for name, value in values.items() if name in group})

    @property
    def _progress(self) -> float:
        """As the eager step takes it."""
        state = self.trainer.state
        return float(state.global_step / max(1, state.max_steps))

    def _fill_draws(self, plan: Plan) -> None:
        """The method's draws for a micro-batch; made on the host, as those of the eager step are."""
        positions = plan["positions"]
        keys = np.arange(len(positions)) if self._index is None else self._index[positions]
        drawn = self.trainer.method.draws(keys, step=self.trainer.state.global_step)
        for name, values in drawn.items():
            if name not in self._method_draws:
                self._method_draws[name] = torch.zeros(values.shape, dtype=torch.float64, device=self.device)
            self._fill(self._method_draws[name], torch.from_numpy(values))

    @property
    def _optimizer(self) -> Any:
        return getattr(self.trainer.optimizer, "optimizer", self.trainer.optimizer)

    def _is_ready(self) -> bool:
        """Whether the optimizer can be captured; made after the data loader, it is looked at once."""
        if self._refused:
            return False
        reason = None if self._rates else optimizer_reason_against(self._optimizer)
        if reason is not None:
            self._refused = True
            _refuse(self.trainer.args.cuda_graph, reason)
            return False
        if not self._rates:
            # Fused CUDA kernels read a rate in float32; those of a CPU take it in full, as in the eager step.
            dtype = torch.float32 if self.device.type == "cuda" else torch.float64
            self._shown_rates = [float("nan")] * len(self._optimizer.param_groups)
            self._rates = [torch.zeros((), dtype=dtype, device=self.device) for _ in self._shown_rates]
        return True

    def _set_rates(self) -> None:
        for number, group in enumerate(self._optimizer.param_groups):
            if group["lr"] != self._shown_rates[number]:
                self._shown_rates[number] = float(group["lr"])
                self._rates[number].fill_(self._shown_rates[number])

    def _fill(self, static: Tensor, value: Tensor) -> None:
        """Copy from the host without waiting for the device."""
        static.copy_(value.pin_memory() if static.is_cuda else value, non_blocking=True)

    def _tell(self, outcome: Outcome) -> None:
        """Hand on what the eager step leaves behind; copies, for the guard may look one step later."""
        index = None if outcome.index is None else outcome.index.clone()
        part = MicroBatch(outcome.loss.clone(), outcome.largest.clone(), index)
        last = (outcome.logits.clone(), outcome.labels.clone())
        self.trainer.last_step = last
        self.trainer.guard.take(part, last, outcome.bad)


def _refuse(asked: str, reason: str) -> None:
    if asked == "on":
        raise ValueError(
            f"--cuda_graph on: the step cannot be captured, because {reason}. Use --cuda_graph auto or off."
        )
    logger.warning("The training step is not captured as a CUDA graph: %s.", reason)
