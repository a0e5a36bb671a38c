"""The Trainer: a robust loss through `compute_loss`, exact under accumulation and on many devices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, has_length

from jal_hf.losses import RobustLoss, resolve_loss
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.callbacks import LogFileCallback, ThroughputCallback
from jal_hf.training.checkpoints import CheckpointCallback
from jal_hf.training.criterion import (
    at_least_one,
    classes_second,
    has_classes_last,
    label_count,
    logits_of,
)
from jal_hf.training.epochs import EpochCallback
from jal_hf.training.evaluation import exact_figures, share_buffers
from jal_hf.training.failures import explained
from jal_hf.training.host_memory import keep_freed_memory
from jal_hf.training.inputs import BATCH_EXTRAS, as_training_dataset, collate_batch
from jal_hf.training.metrics import ImageClassificationMetric, compute_metrics_with
from jal_hf.training.nonfinite import NonFiniteGuard, finite_or_zero
from jal_hf.training.padding import batches_without_padding
from jal_hf.training.penalty import l1_penalty
from jal_hf.training.progress import ProgressBarCallback
from jal_hf.training.pushing import OneCommitPush, hub_callbacks
from jal_hf.training.schedules import epoch_lengths, epoch_scheduler
from jal_hf.training.stop_signals import StopSignals
from jal_hf.training.synchronised import with_synchronised_batchnorm


class JALTrainer(OneCommitPush, Trainer):
    """`transformers.Trainer` with a robust loss.

    The gradient of a step is that of the mean loss over the *global* batch, however it is split over accumulation
    steps and devices: each micro-batch contributes its summed loss over the number of counted labels of the whole
    step. The L1 penalty enters once a step, in training only, before clipping.

    Args:
        loss: Loss object, registry name, or None for `args.loss` with `args.loss_args` and `args.preset`.
        train_dataset, eval_dataset: As in the parent, giving `pixel_values` (or a tokenizer's fields) and `labels`;
            `clean_label` and `index` may be there and never reach the model. A `datasets.Dataset` with an image
            column is preprocessed as the model's `pretrained_cfg` says.
        validation_dataset: A further split that is evaluated beside `eval_dataset`, its figures named
            `validation_...`; for noisy validation data.

    Raises:
        ValueError: Arguments that cannot work together.

    Example:
        trainer = JALTrainer(model=model, args=args, train_dataset=noisy["train"], loss="jal-ce")
    """

    # The loss is normalised over the whole accumulated batch here, so training_step must not divide it again.
    loss_is_scaled_for_ga = True

    args: JALTrainingArguments

    def __init__(
        self,
        model: nn.Module | None = None,
        args: JALTrainingArguments | None = None,
        *,
        loss: RobustLoss | str | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        validation_dataset: Any = None,
        data_collator: Any = None,
        compute_metrics: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else JALTrainingArguments(output_dir="runs/jal")
        if not isinstance(args, JALTrainingArguments):
            raise TypeError(f"args must be JALTrainingArguments, got {type(args).__name__}.")
        if loss is None:
            loss = resolve_loss(args.loss, preset=args.preset, params=args.loss_args)  # type: ignore[arg-type]
            args.take_decay_of_preset()
        self.criterion = resolve_loss(loss)
        self.throughput = ThroughputCallback()
        self.validation_dataset = as_training_dataset(validation_dataset, model, train=False, seed=args.seed)
        self._last_step: tuple[Tensor, Tensor] | None = None
        self._classes_last = False
        self._operations: dict[Any, int] = {}
        config = dict(self.criterion.config())
        args.run_facts["loss"] = {"name": config.pop("name"), "params": config, "preset": args.preset}
        self.checkpoints = CheckpointCallback(args.save_total_limit)
        self.stop_signals = StopSignals()
        self.guard = NonFiniteGuard(args.on_nonfinite, self.criterion, self._sum_over_processes)
        # Their order matters: a wish to stop asks for a checkpoint, whose weights are checked before it is written.
        own: list[TrainerCallback] = [self.throughput, LogFileCallback(), EpochCallback(), self.stop_signals]
        own += [self.checkpoints, self.guard]
        if args.push_to_hub:
            own += hub_callbacks()
        if data_collator is None and kwargs.get("processing_class") is None:
            data_collator = collate_batch
        super().__init__(
            model=model,
            args=args,
            train_dataset=as_training_dataset(train_dataset, model, train=True, seed=args.seed),
            eval_dataset=as_training_dataset(eval_dataset, model, train=False, seed=args.seed),
            data_collator=data_collator,
            compute_metrics=compute_metrics or compute_metrics_with(ImageClassificationMetric()),
            callbacks=own + (callbacks or []),
            **kwargs,
        )
        # Before loss_is_scaled_for_ga existed, this was what told training_step that the loss is already scaled.
        self.model_accepts_loss_kwargs = True
        if not args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(ProgressBarCallback())
        if args.channels_last and not self.is_fsdp_enabled:  # which shards contiguous parameters only
            self.model.to(memory_format=torch.channels_last)
        if args.sync_batchnorm:
            self.model = self.model_wrapped = with_synchronised_batchnorm(self.model, args)
        if self.is_deepspeed_enabled and args.on_nonfinite == "skip":
            raise ValueError(
                "on_nonfinite 'skip' cannot leave a step out under DeepSpeed, which steps by itself; use 'stop'."
            )

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As the parent's; SIGTERM and SIGINT end it after the current step with a checkpoint.

        `stop_signals.stopped_by` then holds the signal's number.

        Raises:
            NonFiniteLossError: The loss or the weights are not finite any more.
            RunError: Files could not be read or written.
        """
        limit = self.args.save_total_limit
        # The parent removes old checkpoints before the new one is marked as whole; CheckpointCallback does it after.
        self.args.save_total_limit = None
        if self.args.keep_freed_memory and self.args.device.type == "cpu":
            keep_freed_memory()
        try:
            with explained(str(self.args.output_dir)), self.stop_signals.caught():
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        finally:
            self.args.save_total_limit = limit

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The robust loss of one micro-batch, scaled so that a step's micro-batches add up to the global mean.

        In evaluation it is the plain mean over the batch, without the L1 penalty.
        """
        labels = inputs.get("labels")
        if labels is None:
            raise ValueError(
                f"The batch has no 'labels', only: {', '.join(inputs)}. Check the data collator."
            )
        features = {
            key: value for key, value in inputs.items() if key != "labels" and key not in BATCH_EXTRAS
        }
        if self.args.channels_last and "pixel_values" in features:
            features["pixel_values"] = features["pixel_values"].contiguous(memory_format=torch.channels_last)
        outputs = (
            model(**features)
            if "pixel_values" not in features
            else model(features.pop("pixel_values"), **features)
        )
        self._classes_last = has_classes_last(outputs)
        logits = classes_second(logits_of(outputs), labels, classes_last=self._classes_last)
        total, normaliser = self.criterion.sum_and_weight(logits, labels, inputs.get("sample_weight"))
        if model.training:
            self._last_step = (logits.detach(), labels)
            share = normaliser if num_items_in_batch is None else num_items_in_batch
            loss = total / at_least_one(share) * self._gradient_averaging(num_items_in_batch)
            if self.args.l1_weight_decay and self.accelerator.sync_gradients:
                loss = loss + self.args.l1_weight_decay * l1_penalty(model)
            self.guard.watch(loss, logits, labels, inputs.get("index"))
        else:
            loss = total / at_least_one(normaliser)
        if not return_outputs:
            return loss
        return loss, outputs if isinstance(outputs, dict) else {"logits": logits}

    def _gradient_averaging(self, num_items_in_batch: Tensor | int | None) -> int:
        """DDP and FSDP average gradients over processes; a share of a global sum must be added instead."""
        return 1 if num_items_in_batch is None else int(self.accelerator.num_processes)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """As the parent's; the loss of a step that will be left out must not spoil the logged mean."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return finite_or_zero(loss) if self.args.on_nonfinite == "skip" else loss

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """As the parent's, but labels are counted as the loss counts them: its ignore_index and its weights.

        Rows that were repeated to fill the last batch on several processes are not counted at all.
        """
        if self.control.should_training_stop:  # resumed after the last step
            return [], None
        started = time.perf_counter()
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.throughput.waited += time.perf_counter() - started
        if not batches or "labels" not in batches[0]:
            return batches, None
        rows = len(self.train_dataset) if has_length(self.train_dataset) else None
        batches = batches_without_padding(batches, self.accelerator, rows, self.criterion.ignore_index)
        parts = [
            label_count(self.criterion, batch["labels"], batch.get("sample_weight")) for batch in batches
        ]
        count = torch.stack([part.to(device) for part in parts]).sum()
        if self.args.world_size > 1:
            counts, wishes = self.accelerator.gather(self.stop_signals.beside(count)[None]).unbind(1)
            self.stop_signals.hear(wishes)
            count = counts.sum().to(count.dtype)
        return batches, count

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """As the parent's, which walks over all parameters every step; here once for each shape of the inputs."""
        shapes = tuple((name, value.shape) for name, value in inputs.items() if isinstance(value, Tensor))
        if shapes not in self._operations:
            self._operations[shapes] = int(super().floating_point_ops(inputs))
        return self._operations[shapes]

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        return value if self.args.world_size == 1 else self.accelerator.reduce(value, "sum")

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All parameters, as the papers decay them, unless `decay_all_parameters` is off."""
        if self.args.decay_all_parameters:
            return [name for name, _ in model.named_parameters()]
        return list(super().get_decay_parameter_names(model))

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """The parent's schedules, and those that step once an epoch."""
        if self.args.epoch_schedule is None or self.lr_scheduler is not None:  # type: ignore[has-type]
            return super().create_scheduler(num_training_steps, optimizer)
        rows = len(self.train_dataset) if has_length(self.train_dataset) else None
        steps_per_epoch, epochs = epoch_lengths(self.args, rows, num_training_steps)
        self.lr_scheduler = epoch_scheduler(
            optimizer if optimizer is not None else self.optimizer,
            self.args.epoch_schedule,
            steps_per_epoch,
            epochs,
            dict(self.args.lr_scheduler_kwargs or {}),
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As the parent's, the same on any number of processes: equal buffers, each row once, exact mean loss."""
        if self.args.world_size > 1:
            share_buffers(self.model)
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        return exact_figures(
            output,
            dataloader.dataset,
            self.criterion,
            metric_key_prefix,
            classes_last=self._classes_last,
        )

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """As the parent's; where there is a validation split and no other dataset is asked for, that one too."""
        metrics = dict(super().evaluate(eval_dataset, ignore_keys, metric_key_prefix))
        if eval_dataset is None and self.validation_dataset is not None and metric_key_prefix == "eval":
            metrics |= super().evaluate(self.validation_dataset, ignore_keys, "validation")
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the parent's, with the loss's components of the last micro-batch beside a training loss."""
        if "loss" in logs and self._last_step is not None:
            parts = self.criterion.components(*self._last_step)
            logs |= {name: float(value) for name, value in parts.items() if name != "loss"}
            logs["data_wait_share"] = self.throughput.wait_share
            if self.guard.skipped:
                logs["skipped_steps"] = self.guard.skipped
        super().log(logs, start_time)

    @property
    def log_file(self) -> Path:
        """The run's `log.jsonl`."""
        return Path(self.args.output_dir) / "log.jsonl"
