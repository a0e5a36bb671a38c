"""One step of the Trainer: the robust loss through `compute_loss`, exact under accumulation and on many devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_utils import has_length

from jal_hf.data.transfer import to_device
from jal_hf.losses import RobustLoss
from jal_hf.training.callbacks import ThroughputCallback
from jal_hf.training.captured.step import CapturedStep
from jal_hf.training.criterion import at_least_one, classes_second, gives_classes_last, label_count, logits_of
from jal_hf.training.data_wait import fetch_on
from jal_hf.training.methods import Method, StepView
from jal_hf.training.methods.batch import Batch, with_long_numbers
from jal_hf.training.methods.method import for_the_loss
from jal_hf.training.nonfinite import NonFiniteGuard, finite_or_zero
from jal_hf.training.outputs import logits_first, model_outputs
from jal_hf.training.own_loss import OwnLossBatch, fields_of_these_rows
from jal_hf.training.penalty import add_l1_gradient, differentiable_l1_penalty, l1_penalty
from jal_hf.training.repeated_rows import (
    batches_without_padding,
    real_rows_of_last_batch,
    without_padding,
)
from jal_hf.training.stop_signals import StopSignals


class RobustStep(Trainer):
    """The stepping half of `RobustTrainer`: loss, gradient, counts of labels, and what is logged of them."""

    args: Any
    model: Any
    criterion: RobustLoss
    method: Method
    loss_scale: float
    guard: NonFiniteGuard
    throughput: ThroughputCallback
    stop_signals: StopSignals
    captured: CapturedStep | None
    last_step: tuple[Tensor, Tensor] | None
    has_own_loss: bool
    _aside: Batch
    _classes_last: bool | None
    _evaluated: list[Tensor]
    _is_scaled: bool
    _said_scaled: bool | None = None
    _operations: dict[Any, int]

    @property
    def loss_is_scaled_for_ga(self) -> bool | None:  # type: ignore[override]
        """Whether the parent's `training_step` leaves the loss as it is: ours is a share of the whole step's mean.

        An own `compute_loss` that doesn't go through ours is divided there, unless its class says True or False here.
        """
        return self._is_scaled if self._said_scaled is None else self._said_scaled

    @loss_is_scaled_for_ga.setter
    def loss_is_scaled_for_ga(self, said: bool | None) -> None:
        self._said_scaled = said

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The robust loss of one micro-batch, scaled so that a step's micro-batches add up to the global mean.

        In evaluation it is the plain mean over the batch, without the L1 penalty.
        """
        inputs = {**fields_of_these_rows(self._aside, inputs.get("labels")), **inputs}
        labels = inputs.get("labels")
        if labels is None:
            raise ValueError(
                f"The batch has no 'labels', only: {', '.join(inputs)}. Check the data collator."
            )
        if model.training:
            inputs = self.method.change_batch(
                inputs, step=self.state.global_step, epoch=float(self.state.epoch or 0.0)
            )
            labels = inputs["labels"]
        outputs = model_outputs(model, inputs, self.args.channels_last)
        self._classes_last = gives_classes_last(outputs)
        logits = classes_second(logits_of(outputs), labels, self._classes_last)
        if model.training:
            self._tell_scaled(True)
            loss = self._training_loss(model, inputs, logits, labels, num_items_in_batch)
        else:
            loss = self._evaluation_loss(logits, labels, inputs.get("sample_weight"))
        if not return_outputs:
            return loss
        return loss, logits_first(outputs) if isinstance(outputs, Mapping) else {"logits": logits}

    def _evaluation_loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
        """The mean over a batch; noted beside it is what its rows bring to that of a whole evaluation, each once."""
        total, normaliser = self.criterion.sum_and_weight(logits, labels, weight)
        loss: Tensor = total / at_least_one(normaliser)
        real = real_rows_of_last_batch(self.accelerator, len(labels), None)
        if weight is not None or real is not None:
            counted: Batch = {"labels": labels}
            if real is not None:
                place, ignored = self.accelerator.process_index, self.criterion.ignore_index
                counted = without_padding(counted, real, place, ignored)
            total, normaliser = self.criterion.sum_and_weight(
                logits, counted["labels"], counted.get("sample_weight")
            )
        self._evaluated.append(torch.stack([total.detach().float(), normaliser.float()]))
        return loss

    def _training_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        logits: Tensor,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None,
    ) -> Tensor:
        view = StepView(
            logits=logits,
            labels=labels,
            index=inputs.get("index"),
            sample_weight=inputs.get("sample_weight"),
            model=model,
            batch=inputs,
            step=self.state.global_step,
            progress=self.state.global_step / max(1, self.state.max_steps),
            targets=labels,
            ignore_index=self.criterion.ignore_index,
            class_weight=self.criterion.weight,
            loss_scale=self.loss_scale,
            rates=inputs.get("rates", {}),
        )
        view, weights = for_the_loss(self.method, view)
        # Losses that draw do so by step and row: the same after a resume, another on each process.
        with self.criterion.drawing(self.state.global_step, view.index):
            total, normaliser = self.criterion.sum_and_weight(view.logits, view.targets, weights)
        for term in self.method.terms(view).values():
            total = total + term
        self.last_step = (view.logits.detach(), view.targets)
        share = normaliser if num_items_in_batch is None else num_items_in_batch
        loss: Tensor = (
            total / at_least_one(share) * self._gradient_averaging(num_items_in_batch) / self.loss_scale
        )
        if self.args.l1_weight_decay and self.accelerator.sync_gradients:
            # Elsewhere than under DeepSpeed it is the value alone; training_step adds the gradient.
            penalty = differentiable_l1_penalty if self.is_deepspeed_enabled else l1_penalty
            loss = loss + self.args.l1_weight_decay * penalty(model)
        self.guard.watch(loss, view.logits, view.targets, view.index)
        return loss

    def _tell_scaled(self, is_scaled: bool) -> None:
        """Tell the parent's `training_step` whether the loss of this micro-batch is still to be divided."""
        self._is_scaled = is_scaled
        said = self.loss_is_scaled_for_ga
        # Before loss_is_scaled_for_ga existed, this was what told it.
        self.model_accepts_loss_kwargs = is_scaled if said is None else said

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        """As the parent's; what never reaches a model is no field of the batch that an own `compute_loss` gets."""
        prepared: Batch = super()._prepare_inputs(inputs)
        if not self.has_own_loss or not isinstance(prepared, Mapping):
            return prepared
        batch = OwnLossBatch({**prepared, **getattr(inputs, "aside", {})})
        self._aside = batch.aside
        return batch

    def _gradient_averaging(self, num_items_in_batch: Tensor | int | None) -> int:
        """DDP and FSDP average gradients over processes; a share of a global sum must be added instead."""
        return 1 if num_items_in_batch is None else int(self.accelerator.num_processes)

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """The step of one micro-batch, captured or eager."""
        if self.captured is not None and "positions" in inputs:
            return self.captured.run(model, inputs, num_items_in_batch)
        return self.eager_step(model, inputs, num_items_in_batch)

    @property
    def has_its_own_step(self) -> bool:
        """Whether a subclass left loss and step as they are here."""
        return all(
            getattr(type(self), name) is getattr(RobustStep, name)
            for name in ("compute_loss", "training_step")
        )

    def eager_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """As the parent's `training_step`; the last micro-batch brings the L1 decay's gradient, before clipping.

        The loss of a step that will be left out must not spoil the logged mean.
        """
        self._tell_scaled(False)
        try:
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        finally:
            self._tell_scaled(True)
            self._aside = {}
        if self.args.l1_weight_decay and self.accelerator.sync_gradients and not self.is_deepspeed_enabled:
            # Processes have averaged their gradients by now, and a scaler of fp16 has scaled them.
            decay = self.args.l1_weight_decay
            scaler = self.accelerator.scaler
            if scaler is not None:
                scaled = scaler.scale(torch.full((), decay, device=loss.device))
            add_l1_gradient(model.parameters(), decay if scaler is None else scaled)
        return finite_or_zero(loss) if self.args.on_nonfinite == "skip" else loss

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """As the parent's, but labels are counted as the loss counts them: its ignore_index and its weights.

        Rows that were repeated to fill the last batch on several processes are not counted at all.
        """
        if self.control.should_training_stop:  # resumed after the last step
            return [], None
        fetch = fetch_on(self.args.device)
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.throughput.add(fetch.end())
        if self.captured is not None:
            return self.captured.begin(batches)
        given: Any = self.train_dataset
        if getattr(given, "is_finished_later", False):
            batches = [given.finished(batch) for batch in batches]
        if not batches or "labels" not in batches[0]:
            return batches, None
        batches = [with_long_numbers(batch) for batch in batches]
        rows = len(self.train_dataset) if has_length(self.train_dataset) else None
        batches = batches_without_padding(batches, self.accelerator, rows, self.criterion.ignore_index)
        parts = [
            label_count(self.criterion, batch["labels"], batch.get("sample_weight")) for batch in batches
        ]
        count = sum((to_device(part, device) for part in parts[1:]), to_device(parts[0], device))
        if self.args.world_size > 1:
            counts, wishes = self.accelerator.gather(self.stop_signals.beside(count)[None]).unbind(1)
            self.stop_signals.hear(wishes)
            count = counts.sum().to(count.dtype)
        return batches, count

    def floating_point_ops(self, inputs: Batch) -> int:
        """As the parent's, which walks over all parameters every step; here once for each shape of the inputs."""
        if "positions" in inputs and self.captured is not None:
            inputs = self.captured.stand_in
        shapes = tuple((name, value.shape) for name, value in inputs.items() if isinstance(value, Tensor))
        if shapes not in self._operations:
            self._operations[shapes] = int(super().floating_point_ops(inputs))
        return self._operations[shapes]

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        return value if self.args.world_size == 1 else self.accelerator.reduce(value, "sum")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the parent's, with the loss's components of the last micro-batch beside a training loss."""
        if "loss" in logs and self.last_step is not None:
            parts = self.criterion.components(*self.last_step)
            logs |= {name: float(value) for name, value in parts.items() if name != "loss"}
            if self.captured is not None and self.captured.norm is not None:
                logs["grad_norm"] = float(self.captured.norm)
            logs["data_wait_share"] = self.throughput.wait_share
            if self.guard.skipped:
                logs["skipped_steps"] = self.guard.skipped
        super().log(logs, start_time)
