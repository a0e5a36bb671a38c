"""Losses on the probability simplex, where the theorems live: no softmax, float64."""

from __future__ import annotations

import torch
from torch import Tensor

from jal_hf.losses import RobustLoss, create_loss
from jal_hf.losses.scores import Scores


def built(loss: RobustLoss | str) -> RobustLoss:
    """The loss, also of a name, which has its default parameters."""
    return create_loss(loss) if isinstance(loss, str) else loss


def losses_at(loss: RobustLoss, probabilities: Tensor) -> Tensor:
    """L(u, k) for every label k: probabilities (S, K) give (S, K)."""
    return loss.equation(Scores.from_probabilities(probabilities))


def project(points: Tensor) -> Tensor:
    """The nearest points of the simplex, row by row (Euclidean; sorting as in Duchi et al., 2008)."""
    ordered = points.sort(dim=1, descending=True).values
    surplus = ordered.cumsum(1) - 1.0
    counts = torch.arange(1, points.shape[1] + 1, dtype=points.dtype)
    kept = (ordered * counts > surplus).sum(1, keepdim=True).clamp_min(1)
    threshold = surplus.gather(1, kept - 1) / kept
    return (points - threshold).clamp_min(0.0)
