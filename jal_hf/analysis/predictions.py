"""A trained model's logits and losses over its own training split, without augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from jal_hf.data.progress import progress_line
from jal_hf.losses import RobustLoss
from jal_hf.training.criterion import logits_of

FloatArray = npt.NDArray[np.float64]


def predict_logits(
    model: nn.Module, dataset: Any, batch_size: int = 256, *, what: str = "predicting"
) -> FloatArray:
    """Logits (N, K) of every example, in order.

    `dataset` is map-style; one with `__getitems__` gives ready batches, which `make_image_dataset` does. The
    model stays on its device, and is back in the mode it was in afterwards. `what` stands on the progress line.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    rows = len(dataset)
    parts: list[FloatArray] = []
    try:
        with torch.no_grad(), progress_line(rows, what, "image") as line:
            for start in range(0, rows, batch_size):
                batch = dataset.__getitems__(list(range(start, min(start + batch_size, rows))))
                logits = logits_of(model(batch["pixel_values"].to(device)))
                parts.append(logits.double().cpu().numpy())
                line.update(len(logits))
    finally:
        model.train(was_training)
    if not parts:
        raise ValueError("The training split is empty: there is nothing to audit.")
    return np.concatenate(parts)


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities (N, K), in float64 so that very small ones still differ."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def example_losses(
    criterion: RobustLoss, logits: FloatArray, labels: npt.NDArray[np.int64], rows_at_once: int = 65_536
) -> FloatArray:
    """The criterion's value for each example, (N,), in float64; its `reduction` must be "none"."""
    parts: list[FloatArray] = []
    with torch.no_grad():
        for start in range(0, len(labels), rows_at_once):
            part = slice(start, start + rows_at_once)
            losses = criterion(torch.from_numpy(logits[part]), torch.from_numpy(labels[part]))
            parts.append(losses.double().numpy())
    return np.concatenate(parts)
