"""The Trainer: a robust loss through `compute_loss`, exact under accumulation and on many devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ProgressCallback, TrainerCallback
from transformers.trainer_utils import has_length

from jal_hf.data.images.batch_datasets import DecodedImages
from jal_hf.hub.callback import HubCallback
from jal_hf.losses import RobustLoss
from jal_hf.models import as_run_model, savable_weights
from jal_hf.models.channels import channels_last, with_channels_last
from jal_hf.training.arguments import JALTrainingArguments, parse_json_object
from jal_hf.training.callbacks import LogFileCallback, ThroughputCallback
from jal_hf.training.captured.step import CapturedStep
from jal_hf.training.checkpoints import CheckpointCallback, begin_checkpoint, is_checkpoint_of
from jal_hf.training.criterion import (
    at_least_one,
    classes_second,
    decide_loss,
    gives_classes_last,
    label_count,
    logits_of,
)
from jal_hf.training.data_wait import fetch_on
from jal_hf.training.epochs import EpochCallback, place_in_stream
from jal_hf.training.exact_evaluation import ExactEvaluation
from jal_hf.training.failures import explained, resuming
from jal_hf.training.head_watch import HeadWatch
from jal_hf.training.host_memory import keep_freed_memory
from jal_hf.training.inputs import (
    RawImages,
    check_classes,
    class_names_for,
    collate_batch,
    dropping_last,
    leaves_one_row,
    on_accelerator,
)
from jal_hf.training.methods import Method, StepView, create_method
from jal_hf.training.methods.checkpointing import MethodCallback
from jal_hf.training.methods.method import BATCH_EXTRAS, Batch, for_the_loss
from jal_hf.training.metrics import fitting_metrics
from jal_hf.training.nonfinite import NonFiniteGuard, finite_or_zero
from jal_hf.training.optimisation import PapersOptimisation
from jal_hf.training.penalty import add_l1_gradient, differentiable_l1_penalty, l1_penalty
from jal_hf.training.progress import ProgressBarCallback
from jal_hf.training.progress_record import progress_record
from jal_hf.training.pushing import OneCommitPush
from jal_hf.training.repeated_rows import batches_without_padding
from jal_hf.training.stop_signals import StopSignals
from jal_hf.training.synchronised import with_synchronised_batchnorm


class RobustTrainer(OneCommitPush, ExactEvaluation, PapersOptimisation):
    """`transformers.Trainer` with a robust loss; `jal_hf.JALTrainer` adds the run's folder to it.

    The gradient of a step is that of the mean loss over the *global* batch, however it is split over accumulation
    steps and devices: each micro-batch contributes its summed loss over the number of counted labels of the whole
    step. The L1 penalty enters once a step, in training only, before clipping.

    Args:
        model: Any network that gives logits; a bare one of timm is wrapped by `as_run_model`, so that it is saved in
            the form that transformers and timm load.
        args: Never changed; `trainer.args` is a copy with the decay of the preset.
        loss: Loss object, registry name, or None for `args.loss`; a name takes `args.loss_args` and `args.preset`.
        train_dataset, eval_dataset: As in the parent, giving `pixel_values` (or a tokenizer's fields) and `labels`;
            `clean_label` and `index` may be there and never reach the model. A raw `datasets.Dataset` or stream with
            an image column is preprocessed as the model's `pretrained_cfg` says, here and in `evaluate` and `predict`.
        validation_dataset: A further split that is evaluated beside `eval_dataset`, its figures named
            `validation_...`; for noisy validation data.
        augment: Training augmentation of raw images: none, crop-flip, crop-flip-rotate, randomresizedcrop or
            resize-crop-flip.
        label_column, image_column: Of raw images; None finds them by type and usual names.
        on_bad_image: 'error', or 'skip' to leave unreadable images of a stream out.
        method: Training method, by object or name; None takes `args.method`.
        noise: What is known of the label noise, for `preset="auto"`.
        compute_metrics: As in the parent; 'auto' gives accuracy where labels are classes; None gives the loss alone.

    Raises:
        ValueError: Arguments that cannot work together.

    Example:
        trainer = JALTrainer(model=model, args=args, train_dataset=noisy["train"], loss="jal-ce", augment="crop-flip")
    """

    # The loss is normalised over the whole accumulated batch here, so training_step must not divide it again.
    loss_is_scaled_for_ga = True

    args: JALTrainingArguments
    model: nn.Module

    def __init__(
        self,
        model: nn.Module | None = None,
        args: JALTrainingArguments | None = None,
        *,
        loss: RobustLoss | str | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        validation_dataset: Any = None,
        augment: str | None = None,
        label_column: str | None = None,
        image_column: str | None = None,
        on_bad_image: str = "error",
        method: Method | str | None = None,
        noise: Any = None,
        data_collator: Any = None,
        compute_metrics: Any = "auto",
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else JALTrainingArguments(output_dir="runs/jal")
        if not isinstance(args, JALTrainingArguments):
            raise TypeError(f"args must be JALTrainingArguments, got {type(args).__name__}.")
        if model is not None:
            model = as_run_model(model, class_names_for(model, train_dataset, label_column))
            check_classes(model, train_dataset, label_column)
        classes = getattr(getattr(model, "config", None), "num_labels", None)
        choice = decide_loss(loss, args, num_classes=classes, noise=noise)
        args = args.copied()
        args.weight_decay, args.l1_weight_decay = choice.weight_decay, choice.l1_weight_decay
        self.criterion = choice.criterion
        self.loss_scale = 1.0
        if args.loss_scale == "gradient":
            if classes is None:
                raise ValueError(
                    "loss_scale 'gradient' needs the number of classes, and the model tells none; leave it out."
                )
            self.loss_scale = self.criterion.gradient_scale(int(classes))
        self.method = (
            method
            if isinstance(method, Method)
            else create_method(method or args.method, parse_json_object("method_args", args.method_args))
        )
        self.raw_images = RawImages(
            model, augment, args.seed, label_column, image_column, args.device, on_bad_image=on_bad_image
        )
        self.given_train_dataset = train_dataset
        self.throughput = ThroughputCallback()
        with args.main_process_first(desc="decoding the images"):
            train_dataset = self.raw_images.ready(train_dataset, train=True)
            eval_dataset = self.raw_images.ready(eval_dataset, train=False)
            self.validation_dataset = self.raw_images.ready(validation_dataset, train=False)
        if isinstance(train_dataset, DecodedImages) and args.device.type != "cpu":
            train_dataset = train_dataset.finished_on_the_device()
        if on_accelerator(train_dataset):
            # Batches are made where they are used: there is nothing to pin, and no worker could reach them.
            args.dataloader_pin_memory, args.dataloader_num_workers = False, 0
            args.forget_workers()
        self.known_facts: dict[str, Any] = {}
        """Sections of the run's record that are known before it trains, such as `dataset`, `noise` and `config`."""
        self.last_step: tuple[Tensor, Tensor] | None = None
        """Logits and targets of the last micro-batch."""
        self.captured: CapturedStep | None = None
        """The step on static buffers, where training takes one."""
        self._classes_last = False
        self._operations: dict[Any, int] = {}
        self.checkpoints = CheckpointCallback(args.save_total_limit, args.save_seconds)
        self.stop_signals = StopSignals()
        self.guard = NonFiniteGuard(args.on_nonfinite, self.criterion, self._sum_over_processes)
        self._method_state = MethodCallback(self.method, args.seed)
        # Their order matters: a wish to stop asks for a checkpoint, whose weights are checked before it is written,
        # and which holds the method's state before it is marked as whole.
        own: list[TrainerCallback] = [self.throughput, LogFileCallback(), EpochCallback(), self.stop_signals]
        self.head_watch = HeadWatch()
        own += [self._method_state, self.checkpoints, self.guard, self.head_watch]
        if args.push_to_hub:
            own.append(HubCallback(lambda: progress_record(self)))
        if data_collator is None and kwargs.get("processing_class") is None:
            data_collator = collate_batch
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            # Without a test split the validation split alone is evaluated; `evaluate` names its figures.
            eval_dataset=self.validation_dataset if eval_dataset is None else eval_dataset,
            data_collator=data_collator,
            compute_metrics=fitting_metrics if compute_metrics == "auto" else compute_metrics,
            callbacks=own + (callbacks or []),
            **kwargs,
        )
        # Before loss_is_scaled_for_ga existed, this was what told training_step that the loss is already scaled.
        self.model_accepts_loss_kwargs = True
        if not args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(ProgressBarCallback())
        if args.channels_last and not self.is_fsdp_enabled:  # which shards contiguous parameters only
            with_channels_last(self.model)
        if args.sync_batchnorm:
            self.model = self.model_wrapped = with_synchronised_batchnorm(self.model, args)
        if self.is_deepspeed_enabled and args.on_nonfinite == "skip":
            raise ValueError(
                "on_nonfinite 'skip' cannot leave a step out under DeepSpeed, which steps by itself; use 'stop'."
            )

    def get_train_dataloader(self) -> Any:
        """As the parent's; a captured step makes its batches itself, from the rows and draws of a batch.

        A last batch of one row, on which batch norm cannot train, is left out.
        """
        given: Any = self.train_dataset  # type: ignore[has-type]
        is_one = leaves_one_row(self.model, given, self.args.train_batch_size)
        if self.captured is not None:
            self.train_dataset = self.captured.images
        try:
            with dropping_last(self.args, self.args.dataloader_drop_last or is_one):
                return super().get_train_dataloader()
        finally:
            self.train_dataset = given

    def unaugmented_train_dataset(self) -> Any:
        """The training rows as they are evaluated, or None where they are no raw images, or a stream."""
        given = self.given_train_dataset
        return self.raw_images.ready(given, train=False) if isinstance(given, datasets.Dataset) else None

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
        self.checkpoints.has_begun = False
        if self.model_init is None:
            self._method_state.prepare(self, resume_from_checkpoint)
            self.captured = CapturedStep.for_trainer(self)
        else:  # the parent makes the model first
            self._method_state.at_begin = lambda: self._method_state.prepare(self, resume_from_checkpoint)
        try:
            with (
                resuming(resume_from_checkpoint, lambda: self.checkpoints.has_begun),
                explained(str(self.args.output_dir)),
                self.stop_signals.caught(),
            ):
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        finally:
            self.args.save_total_limit = limit

    def _init_training_state(
        self,
        max_steps: int,
        steps_per_epoch: int,
        epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """As the parent's, which takes all steps over a stream for one pass; no public method decides that."""
        done: tuple[int, int] = super()._init_training_state(
            max_steps, steps_per_epoch, epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is None or has_length(self.train_dataset):
            return done
        passes, batches = place_in_stream(Path(resume_from_checkpoint), self.args.gradient_accumulation_steps)
        return passes, 0 if self.args.ignore_data_skip else batches

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
            loss = self._training_loss(model, inputs, logits, labels, num_items_in_batch)
        else:
            total, normaliser = self.criterion.sum_and_weight(logits, labels, inputs.get("sample_weight"))
            loss = total / at_least_one(normaliser)
        if not return_outputs:
            return loss
        return loss, outputs if isinstance(outputs, dict) else {"logits": logits}

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
            getattr(type(self), name) is getattr(RobustTrainer, name)
            for name in ("compute_loss", "training_step")
        )

    def eager_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """As the parent's `training_step`; the last micro-batch brings the L1 decay's gradient, before clipping.

        The loss of a step that will be left out must not spoil the logged mean.
        """
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
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
        rows = len(self.train_dataset) if has_length(self.train_dataset) else None
        batches = batches_without_padding(batches, self.accelerator, rows, self.criterion.ignore_index)
        parts = [
            label_count(self.criterion, batch["labels"], batch.get("sample_weight")) for batch in batches
        ]
        count = sum((part.to(device) for part in parts[1:]), parts[0].to(device))
        if self.args.world_size > 1:
            counts, wishes = self.accelerator.gather(self.stop_signals.beside(count)[None]).unbind(1)
            self.stop_signals.hear(wishes)
            count = counts.sum().to(count.dtype)
        return batches, count

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """As the parent's; what `model_init` gives is taken as a model that is given."""
        model: nn.Module = as_run_model(super().call_model_init(trial))
        return model

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent's; a checkpoint's folder says from its first moment on that it is ours."""
        if output_dir and is_checkpoint_of(Path(output_dir), Path(self.args.output_dir)):
            if self.args.should_save:
                begin_checkpoint(Path(output_dir))
            # No other process may put its part there before.
            self.accelerator.wait_for_everyone()
        super().save_model(output_dir, _internal_call)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """As the parent's, which fails on the weights of a plain module in the channels_last layout or tied."""
        if not isinstance(self.accelerator.unwrap_model(self.model), PreTrainedModel):
            state_dict = savable_weights(self.model.state_dict() if state_dict is None else state_dict)
        super()._save(output_dir, state_dict)

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

    @property
    def log_file(self) -> Path:
        """The run's `log.jsonl`."""
        return Path(self.args.output_dir) / "log.jsonl"


def model_outputs(model: nn.Module, inputs: Batch, with_layout: bool | None) -> Any:
    """The model's output for a batch, without the fields that only the loss takes."""
    features = {key: value for key, value in inputs.items() if key not in BATCH_EXTRAS}
    if "pixel_values" not in features:
        return model(**features)
    pixels = features.pop("pixel_values")
    return model(channels_last(pixels) if with_layout else pixels, **features)
