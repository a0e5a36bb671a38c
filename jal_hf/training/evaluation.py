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
    logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    if logits is None:
        return output
    if has_length(dataset) and len(logits) != len(dataset):
        raise RuntimeError(
            f"The evaluation gave {len(logits)} predictions for {len(dataset)} rows; each row must be counted once. "
            "Please report this with the launch line."
        )
    labels = output.label_ids
    if criterion is None or labels is None or isinstance(labels, tuple):
        return output
    if f"{prefix}_loss" not in output.metrics:
        return output
    total, counted = 0.0, 0.0
    if (labels == -100).any():  # the Trainer's padding of batches to one length
        labels = np.where(labels == -100, criterion.ignore_index, labels)
    for start in range(0, len(logits), _ROWS_AT_ONCE):
        target = torch.as_tensor(labels[start : start + _ROWS_AT_ONCE])
        scores = classes_second(torch.as_tensor(logits[start : start + _ROWS_AT_ONCE]), target, classes_last)
        part, share = criterion.sum_and_weight(scores, target)
        total, counted = total + float(part), counted + float(share)
    metrics = {**output.metrics, f"{prefix}_loss": total / float(at_least_one(counted))}
    return output._replace(metrics=metrics)
