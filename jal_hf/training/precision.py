"""The precision of a training: what was asked for, or else what the machine runs fastest."""

from __future__ import annotations

import logging

import torch
from transformers import TrainingArguments

from jal_hf.training.hardware import detect_hardware

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


class PrecisionArguments(TrainingArguments):
    """The part of `JALTrainingArguments` that settles precision and memory format."""

    precision: str
    channels_last: bool | None
    bf16: bool | None
    fp16: bool | None

    def _choose_precision(self) -> None:
        """Settle bf16, fp16 and channels_last; what was set explicitly is never overruled."""
        # The parent refuses bf16 on a machine without an accelerator unless it is told that the CPU is meant.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()  # type: ignore[has-type]
        hardware = detect_hardware(use_cpu=self.use_cpu)
        self.hardware_reason = "asked for"
        for name, asked in (("bf16", self.bf16), ("fp16", self.fp16)):
            if self.precision != "auto" and asked is not None and asked != (self.precision == name):
                raise ValueError(
                    f"precision {self.precision!r} and {name}={asked} contradict each other; give one."
                )
        chosen = self.precision
        if chosen == "auto":
            if self.bf16 or self.fp16:
                chosen = "bf16" if self.bf16 else "fp16"
            elif self.bf16 is None and self.fp16 is None:
                chosen, self.hardware_reason = hardware.precision, hardware.reason
            else:
                is_refused = {"bf16": self.bf16 is False, "fp16": self.fp16 is False}
                chosen = "fp32" if is_refused.get(hardware.precision) else hardware.precision
        if chosen == "fp16" and self.use_cpu:
            # Whose weights and sums stay in float32 all the same; a run made on a GPU is still to be used here.
            logger.warning("fp16 needs an accelerator: on this CPU everything is computed in float32.")
            chosen, self.fp16, self.hardware_reason = "fp32", False, "there is no accelerator"
            self.precision = "auto" if self.precision == "auto" else "fp32"
        # Both at once is for the parent to refuse.
        self.bf16, self.fp16 = bool(self.bf16) or chosen == "bf16", bool(self.fp16) or chosen == "fp16"
        if self.channels_last is None:
            self.channels_last = hardware.channels_last

    @property
    def precision_name(self) -> str:
        """What is really used: "bf16", "fp16" or "fp32"."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"
