"""The Trainer: a robust loss through `compute_loss`, exact under accumulation and on many devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets
from torch import Tensor, nn
from transformers import EvalPrediction, ProgressCallback, TrainerCallback
from transformers.trainer_utils import has_length

from jal_hf.data.images.batch_datasets import DecodedImages
from jal_hf.hub.callback import HubCallback
from jal_hf.losses import RobustLoss
from jal_hf.models import as_run_model
from jal_hf.models.channels import with_channels_last
from jal_hf.models.preprocessing import Preprocessing
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.callbacks import LogFileCallback, ThroughputCallback
from jal_hf.training.captured.step import CapturedStep
from jal_hf.training.checkpoints import CheckpointCallback
from jal_hf.training.decisions import DecidedByArguments
from jal_hf.training.epochs import EpochCallback
from jal_hf.training.evaluation import check_streams
from jal_hf.training.exact_evaluation import ExactEvaluation
from jal_hf.training.failures import explained, resuming
from jal_hf.training.head_watch import HeadWatch
from jal_hf.training.host_memory import keep_freed_memory
from jal_hf.training.inputs import RawImages, check_classes, class_names_for
from jal_hf.training.loaders import (
    collate_batch,
    end_workers,
    is_stock_collator,
    is_tokenizer,
    on_accelerator,
)
from jal_hf.training.methods import Method
from jal_hf.training.methods.batch import Batch
from jal_hf.training.methods.checkpointing import MethodCallback
from jal_hf.training.metrics import fitting_metrics
from jal_hf.training.nonfinite import NonFiniteGuard
from jal_hf.training.optimisation import PapersOptimisation
from jal_hf.training.process_end import end_well
from jal_hf.training.progress import ProgressBarCallback
from jal_hf.training.progress_record import progress_record
from jal_hf.training.pushing import OneCommitPush
from jal_hf.training.schedules import check_stream_steps
from jal_hf.training.step import RobustStep
from jal_hf.training.stop_signals import StopSignals
from jal_hf.training.synchronised import with_synchronised_batchnorm
from jal_hf.training.training_rows import TrainingRows
from jal_hf.training.whole_checkpoints import WholeCheckpoints


class RobustTrainer(
    OneCommitPush,
    RobustStep,
    ExactEvaluation,
    TrainingRows,
    PapersOptimisation,
    DecidedByArguments,
    WholeCheckpoints,
):
    """`transformers.Trainer` with a robust loss; `jal_hf.JALTrainer` adds the run's folder to it.

    The gradient of a step is that of the mean loss over the *global* batch, however it is split over accumulation
    steps and devices: each micro-batch contributes its summed loss over the number of counted labels of the whole
    step. The L1 penalty enters once a step, in training only, before clipping.

    A subclass's own `compute_loss` returns the mean over its micro-batch, which is then divided by the number of
    micro-batches of the step, or what `super().compute_loss` gives, which is divided already; where it divides by
    itself, the class says `loss_is_scaled_for_ga = True`. It finds `index`, `clean_label` and the like by name; they
    are no part of `**inputs`. Loss, method and decay follow the arguments as they are when `train` begins, as after
    `hyperparameter_search`; objects that were given stay.

    Args:
        model: Any network that gives logits; a bare one of timm is wrapped by `as_run_model`, so that it is saved in
            the form that transformers and timm load.
        args: Never changed; `trainer.args` is a copy with the decay of the preset.
        loss: Loss object, registry name, or None for `args.loss`; a name takes `args.loss_args` and `args.preset`.
        train_dataset, eval_dataset: As in the parent, giving `pixel_values` (or a tokenizer's fields) and `labels`;
            `clean_label` and `index` may be there and never reach the model, and a tokenised dataset may keep its
            text. A raw `datasets.Dataset` or stream with an image column is preprocessed as the model's
            `pretrained_cfg` says, here and in `evaluate` and `predict`.
        validation_dataset: A further split that is evaluated beside `eval_dataset`, its figures named
            `validation_...`; for noisy validation data. The best model is that of `metric_for_best_model`, such as
            `validation_accuracy`, or where there is no `eval_dataset` plain `accuracy`.
        augment: Training augmentation of raw images: none, crop-flip, crop-flip-rotate, randomresizedcrop or
            resize-crop-flip.
        label_column, image_column: Of raw images; None finds them by type and usual names.
        on_bad_image: 'error', or 'skip' to leave unreadable images of a stream out.
        method: Training method, by object or name; None takes `args.method`.
        noise: What is known of the label noise, for `preset="auto"`.
        num_classes: K, of a model whose `config` doesn't tell it.
        preprocessing: `input_size` (C, H, W), `mean` and `std` of raw images, for a model that doesn't tell them.
        data_collator: As in the parent; one of your own is given the rows of a dataset as they are.
        compute_metrics: As in the parent; 'auto' gives accuracy where labels are classes; None gives the loss alone.

    Raises:
        ValueError: Arguments that cannot work together.

    Example:
        trainer = JALTrainer(model=model, args=args, train_dataset=noisy["train"], loss="jal-ce", augment="crop-flip")
    """

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
        num_classes: int | None = None,
        preprocessing: Preprocessing | Mapping[str, Any] | None = None,
        data_collator: Any = None,
        compute_metrics: Any = "auto",
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else JALTrainingArguments(output_dir="runs/jal")
        if not isinstance(args, JALTrainingArguments):
            raise TypeError(f"args must be JALTrainingArguments, got {type(args).__name__}.")
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError(
                "compute_loss_func is for the stock Trainer; give JALTrainer a loss (a name or an object), or override "
                "compute_loss in a subclass."
            )
        self.given_train_dataset, self._label_column, self._noise = train_dataset, label_column, noise
        self.num_classes = num_classes
        """Of a model that doesn't tell them."""
        if train_dataset is not None and not has_length(train_dataset):
            check_stream_steps(args)
        for scored in (eval_dataset, validation_dataset):
            check_streams(args, scored)
        args = args.copied()
        self._ask(args, loss, method)
        self.has_own_loss = type(self).compute_loss is not RobustStep.compute_loss
        self._aside: Batch = {}
        self._is_scaled = True
        self.model_init = kwargs.get("model_init")
        # The parent makes its model later; this one tells classes, columns and how images are prepared.
        first = super().call_model_init() if model is None and self.model_init is not None else model
        if first is not None:
            first = self._as_run_model(first)
        model = first if model is not None else None
        self._decide(args, self._given_loss, self._given_method, first)
        is_stock = is_stock_collator(data_collator)
        knows_columns = is_stock and self.has_its_own_step
        self.raw_images = RawImages(
            first,
            augment,
            args.seed,
            label_column,
            image_column,
            args.device,
            on_bad_image=on_bad_image,
            drop_unused=is_stock and args.remove_unused_columns is None,
            keeps_numbers=not knows_columns,
            ignore_index=self.criterion.ignore_index if knows_columns else None,
            num_classes=num_classes,
            preprocessing=preprocessing,
            is_left_alone=not is_stock,
        )
        self.throughput = ThroughputCallback()
        with args.main_process_first(desc="decoding the images"):
            train_dataset = self.raw_images.ready(train_dataset, train=True)
            eval_dataset = self.raw_images.ready(eval_dataset, train=False)
            self.validation_dataset = self.raw_images.ready(validation_dataset, train=False)
        self._prepares_images = train_dataset is not self.given_train_dataset and not isinstance(
            train_dataset, datasets.Dataset | datasets.IterableDataset
        )
        best_by = (args.metric_for_best_model or "").removeprefix("eval_")
        if best_by and eval_dataset is None and validation_dataset is not None:
            args.metric_for_best_model = f"validation_{best_by.removeprefix('validation_')}"
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
        self._train_loader: Any = None
        """The step on static buffers, where training takes one."""
        self._classes_last: bool | None = None
        self._evaluated: list[Tensor] = []
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
        if data_collator is None and not is_tokenizer(kwargs.get("processing_class")):
            data_collator = collate_batch
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            # Without a test split the validation split alone is evaluated; `evaluate` names its figures.
            eval_dataset=self.validation_dataset if eval_dataset is None else eval_dataset,
            data_collator=data_collator,
            compute_metrics=self._figures if compute_metrics == "auto" else compute_metrics,
            callbacks=own + (callbacks or []),
            **kwargs,
        )
        self._tell_scaled(True)
        if not args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(ProgressBarCallback())
        if args.channels_last and not self.is_fsdp_enabled:  # which shards contiguous parameters only
            with_channels_last(self.model)
        if args.world_size > 1:
            end_well()
        if args.sync_batchnorm:
            self.model = self.model_wrapped = with_synchronised_batchnorm(self.model, args)
        if self.is_deepspeed_enabled and args.on_nonfinite == "skip":
            raise ValueError(
                "on_nonfinite 'skip' cannot leave a step out under DeepSpeed, which steps by itself; use 'stop'."
            )

    def _as_run_model(self, model: nn.Module) -> nn.Module:
        given, column = self.given_train_dataset, self._label_column
        model = as_run_model(model, class_names_for(model, given, column))
        check_classes(model, given, column)
        return model

    def _figures(self, prediction: EvalPrediction) -> dict[str, float]:
        """The metrics of 'auto', of what the loss counts and as it reads the logits."""
        return fitting_metrics(
            prediction, ignore_index=self.criterion.ignore_index, classes_last=self._classes_last
        )

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As the parent's; SIGTERM and SIGINT end it after the current step with a checkpoint.

        `stop_signals.stopped_by` then holds the signal's number.

        Raises:
            NonFiniteLossError: The loss or the weights are not finite any more.
            RunError: Files could not be read or written.
        """
        if kwargs.get("trial") is None:
            self._decide_anew()
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
            for loader in (self._train_loader, *self.__dict__.pop("_eval_dataloaders", {}).values()):
                end_workers(loader)
            self._train_loader = None

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """As the parent's; what `model_init` gives is taken as a model that is given."""
        model = self._as_run_model(super().call_model_init(trial))
        self.raw_images = self.raw_images.for_model(model)
        if self._prepares_images:
            self.raw_images.describe()
        return model
