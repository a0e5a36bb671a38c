"""Batch norm whose statistics are those of the global batch."""

from __future__ import annotations

from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from transformers import TrainingArguments

from jal_hf.models.freezing import freeze_batch_norm, has_frozen_batch_norm


def with_synchronised_batchnorm(model: nn.Module, args: TrainingArguments) -> nn.Module:
    """The model with each batch norm, timm's fused ones included, replaced by its synchronised form; frozen ones
    stay frozen.

    Raises:
        ValueError: Several processes on a CPU, for which torch has no synchronised batch norm.
    """
    if args.world_size > 1 and args.device.type == "cpu":
        raise ValueError(
            "sync_batchnorm needs GPUs: torch has no synchronised batch norm for CPUs. Leave the flag out."
        )
    frozen = has_frozen_batch_norm(model)
    converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    if frozen:
        freeze_batch_norm(converted)
    return converted
