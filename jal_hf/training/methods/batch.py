"""A batch as the step and the methods see it: which of its fields never reach the model, and what keys its draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Batch = dict[str, Any]
"""Tensors by name: `pixel_values` or a tokenizer's fields, `labels`, and `index`, `clean_label`, `sample_weight`."""
BATCH_EXTRAS = frozenset({"clean_label", "index", "sample_weight", "labels", "mixing", "draws", "rates"})
"""Fields of a batch that serve the loss, a method or the record, and never reach the model."""
RowKeys = npt.NDArray[np.int64]
"""What keys the draws of a batch's rows: their `index`, or their places where there is none."""
_SHORT = (torch.uint8, torch.int8, torch.int16, torch.int32)


def row_keys(batch: Batch) -> RowKeys:
    """The keys of a batch's rows (N,), on the host."""
    index = batch.get("index")
    found: RowKeys = np.arange(len(batch["labels"])) if index is None else index.cpu().numpy()
    return found


def with_long_numbers(batch: Batch) -> Batch:
    """The batch with class labels and row numbers in int64, the type by which tensors are indexed."""
    short = {
        name: batch[name].long()
        for name in ("labels", "index")
        if isinstance(batch.get(name), Tensor) and batch[name].dtype in _SHORT
    }
    return {**batch, **short} if short else batch
