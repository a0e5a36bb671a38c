"""Batches before they are made: which rows, and their draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from jal_hf.data.images.batch_datasets import ArrayImages
from jal_hf.data.transfer import to_device

Plan = dict[str, Any]
"""`positions` (B,) int64 and `draws` (B, D) float64, as numpy arrays that no loader moves to a device."""


class PlannedImages(Dataset[Plan]):
    """Images that lie in one array, handed over as plans; `images.batch` makes the batch where it is used."""

    def __init__(self, images: ArrayImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the draws."""
        self.images.set_epoch(epoch)

    def __getitems__(self, positions: Sequence[int]) -> Plan:
        chosen = np.asarray(positions, dtype=np.int64)
        draws = self.images.transform.draws(self.images.rows[chosen], self.images.epoch)
        return {"positions": chosen, "draws": draws.numpy()}

    def batch(self, plan: Plan) -> dict[str, Any]:
        """The batch that the images themselves would have given."""
        place = self.images.images.device
        positions, draws = (to_device(torch.from_numpy(plan[name]), place) for name in ("positions", "draws"))
        return dict(self.images.batch(positions, draws))
