"""Rows that Accelerate repeats to fill the last batch of an epoch on many devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard, DataLoaderDispatcher


def batches_without_padding(
    batches: list[dict[str, Any]], accelerator: Accelerator, dataset_rows: int | None, ignore_index: int
) -> list[dict[str, Any]]:
    """This process's micro-batches of a step, with the repeated rows of an epoch's last one left out of the loss."""
    real = real_rows_of_last_batch(accelerator, len(batches[-1]["labels"]), dataset_rows)
    if real is None:
        return batches
    return [*batches[:-1], without_padding(batches[-1], real, accelerator.process_index, ignore_index)]


def real_rows_of_last_batch(
    accelerator: Accelerator, local_rows: int, dataset_rows: int | None
) -> int | None:
    """How many rows of the current global micro-batch are real; None when all are.

    Args:
        local_rows: Rows of the micro-batch on this process.
        dataset_rows: Rows of the dataset, or None for a stream, whose loader knows it at its end.
    """
    state = accelerator.gradient_state
    loader = state.active_dataloader
    if accelerator.num_processes == 1 or not state.end_of_dataloader or not fills_last_batch(loader):
        return None
    total = local_rows * accelerator.num_processes
    # The remainder of a loader that shards is lost when batches were skipped on resume, so a known length is counted
    # again; one that dispatches fills its last batch only until the processes can share it.
    is_known = dataset_rows is not None and not isinstance(loader, DataLoaderDispatcher)
    real = dataset_rows % total if is_known else int(state.remainder)
    return real if 0 < real < total else None


def fills_last_batch(loader: Any) -> bool:
    """Whether a prepared loader may repeat rows in the last batch of an epoch: not where it leaves rows out instead,
    or gives each process a batch of its own size.
    """
    part = getattr(loader, "batch_sampler", None)
    while part is not None and not isinstance(part, BatchSamplerShard):
        part = getattr(part, "batch_sampler", None)
    return part is None or (part.even_batches and not part.drop_last and part.num_processes > 1)


def without_padding(
    batch: Mapping[str, Any], real_rows: int, process: int, ignore_index: int
) -> dict[str, Any]:
    """The batch with the labels of repeated rows set to `ignore_index`, so that neither loss nor mean counts them.

    The real rows of the last global batch come first, in the order of the processes. Soft labels, which cannot be
    ignored, get weight 0.

    Args:
        real_rows: Real rows of the global micro-batch, over all processes.
        process: This process's rank.
    """
    labels = batch["labels"]
    rows = torch.arange(len(labels), device=labels.device) + process * len(labels)
    repeated = rows >= real_rows
    if labels.is_floating_point():
        weight = batch.get("sample_weight")
        weight = torch.ones(len(labels), device=labels.device) if weight is None else weight
        return {**batch, "sample_weight": torch.where(repeated, torch.zeros_like(weight), weight)}
    repeated = repeated.reshape(-1, *[1] * (labels.dim() - 1))
    return {**batch, "labels": torch.where(repeated, torch.full_like(labels, ignore_index), labels)}
