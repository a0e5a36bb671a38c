"""Evaluation that gives the same figures on any number of processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import nn
from transformers.trainer_utils import EvalLoopOutput, has_length

from jal_hf.losses import RobustLoss
from jal_hf.training.criterion import at_least_one, classes_second

_ROWS_AT_ONCE = 65_536


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers, which a checkpoint holds.

    Without synchronised batch norm each process keeps running statistics of its own share of the images.
    """
    for buffer in model.buffers():
        broadcast(buffer, from_process=0)


def exact_figures(
    output: EvalLoopOutput,
    dataset: Any,
    criterion: RobustLoss | None,
    prefix: str,
    classes_last: bool = False,
) -> EvalLoopOutput:
    """Check that each row was counted once, and put the mean loss over all counted labels into the metrics.

    The parent averages the means of batches, which depends on the batch size when labels are ignored. Its figure
    stays where `criterion` is None, since the predictions are no logits.

    Raises:
        RuntimeError: Predictions and rows differ in number, so a row was left out or counted twice.
    """
    if output.predictions is None:
        return output
    # One array, or a list of them where batches are not put together.
    is_list = isinstance(output.predictions, list)
    batches = output.predictions if is_list else [output.predictions]
    logits = [batch[0] if isinstance(batch, tuple) else batch for batch in batches]
    rows = sum(map(len, logits))
    if has_length(dataset) and rows != len(dataset):
        raise RuntimeError(
            f"The evaluation gave {rows} predictions for {len(dataset)} rows; each row must be counted once. "
            "Please report this with the launch line."
        )
    labels = output.label_ids if is_list else [output.label_ids]
    if criterion is None or not labels or labels[0] is None or isinstance(labels[0], tuple):
        return output
    if f"{prefix}_loss" not in output.metrics:
        return output
    total, counted = 0.0, 0.0
    for some_logits, some_labels in zip(logits, labels, strict=True):
        if (some_labels == -100).any():  # the Trainer's padding of batches to one length
            some_labels = np.where(some_labels == -100, criterion.ignore_index, some_labels)
        for start in range(0, len(some_logits), _ROWS_AT_ONCE):
            target = torch.as_tensor(some_labels[start : start + _ROWS_AT_ONCE])
            scores = torch.as_tensor(some_logits[start : start + _ROWS_AT_ONCE])
            part, share = criterion.sum_and_weight(classes_second(scores, target, classes_last), target)
            total, counted = total + float(part), counted + float(share)
    metrics = {**output.metrics, f"{prefix}_loss": total / float(at_least_one(counted))}
    return output._replace(metrics=metrics)
