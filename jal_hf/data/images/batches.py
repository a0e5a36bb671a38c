"""Batches for the Trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Batch = dict[str, Tensor]


def collate_images(samples: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]) -> Batch:
    """Give the batch as a dict of tensors.

    The datasets of `make_image_dataset` hand over a ready batch, which passes through untouched; a list of
    samples (a stream, or a user's own dataset) is stacked.

    Shape: `pixel_values` (B, C, H, W); `labels`, `index` and, where known, `clean_label` (B,).
    """
    if isinstance(samples, Mapping):
        return dict(samples)
    if len(samples) == 1 and samples[0]["pixel_values"].ndim == 4:
        return dict(samples[0])
    return {name: torch.stack([torch.as_tensor(sample[name]) for sample in samples]) for name in samples[0]}
