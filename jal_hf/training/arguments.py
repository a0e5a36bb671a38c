"""`TrainingArguments` with the fields that a robust run needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from transformers import TrainingArguments

from jal_hf.losses import loss_preset
from jal_hf.training.hardware import detect_hardware
from jal_hf.training.schedules import EPOCH_SCHEDULES

_PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass
class JALTrainingArguments(TrainingArguments):
    """Arguments of `JALTrainer`: all of `transformers.TrainingArguments`, and these.

    What differs from the parent, because a robust loss or a noisy dataset needs it: columns are kept
    (`remove_unused_columns=False`, or the images and clean labels would be deleted), non-finite losses are not
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
    l1_weight_decay: float = field(
        default=0.0,
        metadata={
            "help": "Adds this times the sum of all |parameters| to the training loss, once an optimizer step."
        },
    )
    decay_all_parameters: bool = field(
        default=True,
        metadata={
            "help": "Apply weight_decay to biases and norms too, as the papers do (the parent skips them)."
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
        metadata={"help": "auto (look at the hardware), fp32, bf16 or fp16. --bf16 and --fp16 win over it."},
    )
    channels_last: bool | None = field(
        default=None,
        metadata={
            "help": "Run convolutions in the channels_last memory format; default: where it is faster on this hardware."
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
    sync_batchnorm: bool = field(
        default=False, metadata={"help": "Compute batch-norm statistics over all processes (needs CUDA)."}
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
    remove_unused_columns: bool = field(
        default=False,
        metadata={"help": "Drop dataset columns that the model doesn't take; would drop images too."},
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
        if self.l1_weight_decay < 0:
            raise ValueError(f"l1_weight_decay must be at least 0, got {self.l1_weight_decay}.")
        if self.precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}, got {self.precision!r}.")
        if self.on_nonfinite not in ("stop", "skip"):
            raise ValueError(f"on_nonfinite must be 'stop' or 'skip', got {self.on_nonfinite!r}.")
        # What is known of the run from its start, for callbacks that push while it goes on.
        self.run_facts: dict[str, Any] = {}
        self.loss_args = parse_loss_args(self.loss_args)
        self.epoch_schedule: str | None = None
        if str(self.lr_scheduler_type) in EPOCH_SCHEDULES:
            self.epoch_schedule = str(self.lr_scheduler_type)
            self.lr_scheduler_type = "constant"
        self._choose_precision()
        super().__post_init__()
        if self.label_names is None:  # type: ignore[has-type]
            self.label_names = ["labels"]

    def _choose_precision(self) -> None:
        # The parent refuses bf16 on a machine without an accelerator unless it is told that the CPU is meant.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()  # type: ignore[has-type]
        hardware = detect_hardware(use_cpu=self.use_cpu)
        self.hardware_reason = "asked for"
        if not (self.bf16 or self.fp16):  # type: ignore[has-type]
            chosen = self.precision
            if chosen == "auto":
                chosen, self.hardware_reason = hardware.precision, hardware.reason
            self.bf16, self.fp16 = chosen == "bf16", chosen == "fp16"
        if self.channels_last is None:
            self.channels_last = hardware.channels_last

    def take_decay_of_preset(self) -> None:
        """Take the decay of the named preset where none was asked for."""
        if self.preset in (None, "auto") or self.weight_decay or self.l1_weight_decay:  # type: ignore[has-type]
            return
        chosen = loss_preset(self.loss, str(self.preset))
        self.weight_decay, self.l1_weight_decay = chosen.weight_decay, chosen.l1_weight_decay

    @property
    def precision_name(self) -> str:
        """What is really used: "bf16", "fp16" or "fp32"."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"

    @property
    def device(self) -> torch.device:
        """The device of this process; a CPU without the index that accelerate gives it among several processes.

        torch.load takes no "cpu:0" as a place, and transformers before 5.23 hands it on when it resumes.
        """
        found = super().device
        return torch.device("cpu") if found.type == "cpu" else found

    def __getstate__(self) -> dict[str, Any]:
        """Without the token, for the Trainer pickles its arguments into every checkpoint."""
        return {**self.__dict__, "hub_token": None}

    def to_dict(self) -> dict[str, Any]:
        """As the parent's, with the asked schedule in place of the stand-in that the parent sees."""
        content: dict[str, Any] = super().to_dict()
        if self.epoch_schedule is not None:
            content["lr_scheduler_type"] = self.epoch_schedule
        return content


def parse_loss_args(value: dict[str, Any] | str | None) -> dict[str, Any]:
    """Loss parameters from a mapping or a JSON object.

    Raises:
        ValueError: Text that is not a JSON object.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(
                f'loss_args must be a JSON object such as {{"a": 30}}, got {value!r}: {error}'
            ) from error
    if not isinstance(value, dict):
        raise ValueError(f'loss_args must be a JSON object such as {{"a": 30}}, got {value!r}.')
    return value
