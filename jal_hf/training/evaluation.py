"""Evaluation that gives the same figures on any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import Tensor, nn
from transformers import TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, has_length

from jal_hf.losses import RobustLoss
from jal_hf.training.criterion import at_least_one, classes_second
from jal_hf.training.metrics import rows_at_once


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers, which a checkpoint holds.

    Without synchronised batch norm each process keeps running statistics of its own share of the images.
    """
    for buffer in model.buffers():
        broadcast(buffer, from_process=0)


def check_streams(args: TrainingArguments, given: Any) -> None:
    """Nothing, where several processes can score each row of a dataset, or of each split of a dict, once.

    Raises:
        ValueError: It is a stream that each process reads by itself: rows are repeated at its end to make the
            processes' shares equal, and none knows how many; of shares by files one ends before the other.
    """
    splits = given.values() if isinstance(given, Mapping) else (given,)
    is_read_by_each = args.world_size > 1 and args.accelerator_config.dispatch_batches is False
    if is_read_by_each and any(split is not None and not has_length(split) for split in splits):
        raise ValueError(
            "With dispatch_batches=False several processes cannot score each row of a stream once. Leave "
            "dispatch_batches out of accelerator_config, or evaluate a dataset of known length."
        )


def check_rows(output: EvalLoopOutput, dataset: Any, is_processed: bool) -> None:
    """Nothing, where each row of a dataset of known length was counted once.

    Args:
        is_processed: The predictions are what `preprocess_logits_for_metrics` left, so that labels alone tell rows.

    Raises:
        RuntimeError: A row was left out or counted twice.
    """
    labels = _batches(output.label_ids)
    batches = labels or ([] if is_processed else _batches(output.predictions))
    rows = sum(map(len, batches))
    if batches and has_length(dataset) and rows != len(dataset):
        raise RuntimeError(
            f"The evaluation gave {rows} predictions for {len(dataset)} rows; each row must be counted once. "
            "Please report this with the launch line."
        )


def _batches(given: Any) -> list[Any]:
    """One array, or those of all batches where these are not put together; of several outputs the first."""
    found = given if isinstance(given, list) else [given]
    return [batch[0] if isinstance(batch, tuple) else batch for batch in found if batch is not None]


def mean_of_parts(parts: Sequence[Tensor], gathered: Callable[[Tensor], Tensor]) -> float:
    """The mean loss over all counted labels of an evaluation, from what its batches brought.

    For evaluations that keep no logits; where they are kept, `exact_figures` gives the same from them.

    Args:
        parts: Of each batch on this process the summed loss and the weight of its labels, (2,) float32; at least one.
        gathered: Puts the processes' tensors of equal shape under each other.
    """
    total, counted = gathered(torch.stack(list(parts)).sum(dim=0)[None]).cpu().double().sum(dim=0)
    return float(total / at_least_one(counted))


def exact_figures(
    output: EvalLoopOutput, criterion: RobustLoss, prefix: str, classes_last: bool = False
) -> EvalLoopOutput:
    """The mean loss over all counted labels in the metrics, where the predictions are logits.

    The parent averages the means of batches, which depends on the batch size when labels are ignored.
    """
    logits, labels = _batches(output.predictions), _batches(output.label_ids)
    if not logits or not labels:
        return output
    if f"{prefix}_loss" not in output.metrics:
        return output
    total, counted = 0.0, 0.0
    for some_logits, some_labels in zip(logits, labels, strict=True):
        if (some_labels == -100).any():  # the Trainer's padding of batches to one length
            some_labels = np.where(some_labels == -100, criterion.ignore_index, some_labels)
        step = rows_at_once(some_logits, some_labels)
        for start in range(0, len(some_logits), step):
            target = torch.as_tensor(some_labels[start : start + step])
            scores = torch.as_tensor(some_logits[start : start + step])
            part, share = criterion.sum_and_weight(classes_second(scores, target, classes_last), target)
            total, counted = total + float(part), counted + float(share)
    metrics = {**output.metrics, f"{prefix}_loss": total / float(at_least_one(counted))}
    return output._replace(metrics=metrics)
