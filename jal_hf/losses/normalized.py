"""Makes any loss symmetric: L(p, y) / sum_j L(p, j)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from jal_hf.losses.base import LossConfig, RobustLoss
from jal_hf.losses.factory import as_loss
from jal_hf.losses.registry import register_composition
from jal_hf.losses.scores import Scores


@register_composition("normalized")
class Normalized(RobustLoss):
    """Any loss over its sum over labels, which makes it symmetric.

    Formula:
        L(z, y) / sum_j L(z, j)
    Properties:
        Symmetric: the losses of all labels sum to 1. The loss itself must not be 0 for every label.
    Args:
        loss: a loss, its name or its config; only its equation counts.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: an unknown loss.
        TypeError: what is no loss.
    Example:
        >>> import torch
        >>> round(Normalized("gce")(torch.zeros(1, 4), torch.tensor([0])).item(), 4)
        0.25

    Reference:
        Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020, equation 2.
    Provenance:
        Factors that a loss detaches stay detached in numerator and denominator.
    """

    symmetric = True

    def __init__(self, loss: RobustLoss | str | LossConfig, **common: Any) -> None:
        super().__init__(**common)
        self.loss = as_loss(loss, "loss")
        self.name = f"normalized({self.loss.name})"
        self.random, self.soft_targets = self.loss.random, self.loss.soft_targets

    def equation(self, scores: Scores) -> Tensor:
        every = self.loss.equation(scores.for_every_label())
        return scores.label(every) / every.sum(1, keepdim=True)

    def hyperparameters(self) -> LossConfig:
        return {"loss": self.loss.config()}

    def config(self) -> LossConfig:
        return {**super().config(), "name": "normalized"}
