"""`TrainingArguments` with the fields that a robust run needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from transformers import TrainingArguments

from jal_hf.ground.files import JsonObject
from jal_hf.ground.secrets import SECRET_FIELDS
from jal_hf.training.decays import DECAYS, DecayArguments, NotAsked
from jal_hf.training.json_parameters import parse_json_object
from jal_hf.training.precision import PRECISIONS, PrecisionArguments
from jal_hf.training.schedules import EPOCH_SCHEDULES


# The parent's repr leaves tokens out; one made by dataclass would show them.
@dataclass(repr=False)
class JALTrainingArguments(DecayArguments, PrecisionArguments, TrainingArguments):
    """Arguments of `JALTrainer`: all of `transformers.TrainingArguments`, and these.

    What differs from the parent, because a robust loss or a noisy dataset needs it: images, clean labels and row
    numbers are kept whatever the model takes (`remove_unused_columns`), non-finite losses are not
    hidden (`logging_nan_inf_filter=False`, which also saves a device sync every step), nothing is reported to
    outside services unless asked (`report_to="none"`), and `lr_scheduler_type` also takes the papers' schedules
    that step once an epoch.

    Raises:
        ValueError: A value outside its range, or `label_smoothing_factor`, which a robust loss cannot use.
    """

    _argument_group_name: ClassVar[str] = "training"

    loss: str = field(
        default="jal-ce", metadata={"help": "Robust loss by registry name; `jal-hf losses` lists them."}
    )
    loss_args: dict | str | None = field(  # type: ignore[type-arg]
        default=None,
        metadata={"help": 'Parameters of the loss as JSON, e.g. \'{"alpha": 1, "beta": 1, "a": 30}\'.'},
    )
    preset: str | None = field(
        default=None,
        metadata={
            "help": "Take the loss parameters and the decay that the papers use on this dataset "
            "(digits, mnist, cifar10, cifar100, webvision-mini, clothing1m), or 'auto' for the smallest safe a."
        },
    )
    method: str = field(
        default="plain",
        metadata={"help": "Training method around the loss, or several as a+b; `plain` is the loss alone."},
    )
    method_args: dict | str | None = field(  # type: ignore[type-arg]
        default=None,
        metadata={
            "help": 'Parameters of the method as JSON; of several by name, \'{"elr": {"lambda": 1}}\'.'
        },
    )
    weight_decay: float | None = field(
        default=None, metadata={"help": "L2 decay of the weights. Default: the preset's, else 0."}
    )
    l1_weight_decay: float | None = field(
        default=None,
        metadata={
            "help": "Adds this times the sum of all |parameters| to the training loss, once an optimizer step. "
            "Default: the preset's, else 0."
        },
    )
    decay_all_parameters: bool = field(
        default=True,
        metadata={
            "help": "Apply weight_decay to biases and norms too, as the papers do (the parent skips them)."
        },
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "Each layer learns at this times the rate of the layer above it; 0.65 to 0.8 is usual for "
            "pretrained networks. Then norms and biases do not decay."
        },
    )
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "Rate of the classifier. Default: learning_rate."}
    )
    loss_scale: str = field(
        default="none",
        metadata={
            "help": "gradient: divide the loss by its gradient's size at a uniform prediction, as times that of cross "
            "entropy (`jal-hf losses NAME`), for SGD with many classes; adaptive optimizers need it not.",
            "choices": ["none", "gradient"],
        },
    )
    lr_scheduler_type: str = field(
        default="linear",
        metadata={
            "help": "Learning-rate schedule: a transformers name (linear, cosine, constant, ...) stepped every "
            f"step, or one stepped every epoch as the papers do: {', '.join(EPOCH_SCHEDULES)}."
        },
    )
    precision: str = field(
        default="auto",
        metadata={"help": "auto (look at the hardware), fp32, bf16 or fp16."},
    )
    bf16: bool | None = field(
        default=None, metadata={"help": "Train in bfloat16, or not. Default: as --precision says."}
    )
    fp16: bool | None = field(
        default=None, metadata={"help": "Train in float16, or not. Default: as --precision says."}
    )
    channels_last: bool | None = field(
        default=None,
        metadata={
            "help": "Run convolutions in the channels_last memory format. Default: where that is faster."
        },
    )
    keep_freed_memory: bool = field(
        default=True,
        metadata={
            "help": "On a CPU under glibc, keep freed memory for the next step; faster, and the process stays at its "
            "peak memory."
        },
    )
    on_nonfinite: str = field(
        default="stop",
        metadata={
            "help": "When the loss is NaN or infinite: 'stop' names the step and the batch and keeps the last good "
            "checkpoint; 'skip' leaves that step out and counts it."
        },
    )
    cuda_graph: str = field(
        default="auto",
        metadata={
            "help": "Replay the whole training step as one CUDA graph: 'auto' where that is safe, 'on' or refuse "
            "(on a CPU the same step runs on the same buffers without a graph), 'off'."
        },
    )
    sync_batchnorm: bool = field(
        default=False, metadata={"help": "Compute batch-norm statistics over all processes (needs CUDA)."}
    )
    save_seconds: float | None = field(
        default=None,
        metadata={
            "help": "Also write a checkpoint when so many seconds have passed since the last one, for machines that "
            "may be taken away at any time."
        },
    )
    overwrite: bool = field(
        default=False, metadata={"help": "Replace a run that is already in the output folder."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False,
        metadata={
            "help": "Look every step for parameters without a gradient; for models that use only some."
        },
    )
    remove_unused_columns: bool | None = field(
        default=None,
        metadata={
            "help": "Drop every dataset column that the model doesn't take, or none. Default: of datasets without "
            "images those that neither the model, the loss nor a method takes; under a compute_loss or training_step "
            "of your own those that hold no numbers, and under a data_collator of your own none."
        },
    )
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Hide non-finite losses from the log; forces a device sync every step."},
    )
    # None first: the parent's parser of flags cannot read the union in another order.
    report_to: None | str | list[str] = field(  # noqa: RUF036
        default="none", metadata={"help": "Where to report: none, tensorboard, wandb, all, ..."}
    )

    def __post_init__(self) -> None:
        if self.label_smoothing_factor:
            raise ValueError(
                f"label_smoothing_factor={self.label_smoothing_factor} cannot be combined with a robust loss: it "
                "changes the labels that the loss is built on. Set it to 0, or use the stock Trainer and cross entropy."
            )
        self.forget_workers()
        if self.l1_weight_decay is not None and self.l1_weight_decay < 0:
            raise ValueError(f"l1_weight_decay must be at least 0, got {self.l1_weight_decay}.")
        if self.loss_scale not in ("none", "gradient"):
            raise ValueError(f"loss_scale must be 'none' or 'gradient', got {self.loss_scale!r}.")
        if not 0.0 < self.layer_decay <= 1.0:
            raise ValueError(f"layer_decay must lie in (0, 1], got {self.layer_decay}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if self.on_nonfinite not in ("stop", "skip"):
            raise ValueError(f"on_nonfinite must be 'stop' or 'skip', got {self.on_nonfinite!r}.")
        if self.save_seconds is not None and self.save_seconds <= 0:
            raise ValueError(f"save_seconds must be more than 0, got {self.save_seconds}.")
        if self.cuda_graph not in ("auto", "on", "off"):
            raise ValueError(f"cuda_graph must be 'auto', 'on' or 'off', got {self.cuda_graph!r}.")
        if self.label_names not in (None, ["labels"]):  # type: ignore[has-type]
            raise ValueError(
                f"label_names is {self.label_names!r}, but a batch's labels are looked for under 'labels' alone. Leave "  # type: ignore[has-type]
                "it out, and call the field 'labels' or 'label', as with dataset.rename_column(...), or have a "
                "data_collator call it so."
            )
        self.loss_args = parse_json_object("loss_args", self.loss_args)
        self.method_args = parse_json_object("method_args", self.method_args)
        self._choose_precision()
        for name in DECAYS:
            if getattr(self, name) is None:
                setattr(self, name, NotAsked())
        schedule = self.epoch_schedule
        self.lr_scheduler_type = (
            "constant" if schedule else self.lr_scheduler_type
        )  # the parent knows its own alone
        super().__post_init__()
        self.lr_scheduler_type = schedule or self.lr_scheduler_type
        if self.label_names is None:  # type: ignore[has-type]
            self.label_names = ["labels"]

    def forget_workers(self) -> None:
        """Without workers none can be persistent or fetch ahead; torch refuses to be asked for it."""
        if self.dataloader_num_workers == 0:  # type: ignore[has-type]
            self.dataloader_persistent_workers, self.dataloader_prefetch_factor = False, None

    @property
    def epoch_schedule(self) -> str | None:
        """The schedule where it is one that steps once an epoch, else None."""
        name = str(self.lr_scheduler_type)
        return name if name in EPOCH_SCHEDULES else None

    @property
    def device(self) -> torch.device:
        """The device of this process; a CPU without the index that accelerate gives it among several processes.

        torch.load takes no "cpu:0" as a place, and transformers before 5.23 hands it on when it resumes.
        """
        found = super().device
        return torch.device("cpu") if found.type == "cpu" else found

    def __getstate__(self) -> JsonObject:
        """Without tokens, for the Trainer pickles its arguments into every checkpoint."""
        return {**self.__dict__, **dict.fromkeys(SECRET_FIELDS & set(self.__dict__))}

    def copied(self) -> JALTrainingArguments:
        """Arguments of their own with the same values; the copy of `copy.copy` would lack the tokens."""
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        return clone
