"""Makes any loss symmetric: L(p, y) / sum_j L(p, j)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.factory import as_loss
from jal_hf.losses.scores import Scores


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

    def __init__(self, loss: RobustLoss | str | Mapping[str, Any], **common: Any) -> None:
        super().__init__(**common)
        self.loss = as_loss(loss, "loss")

    @property
    def label(self) -> str:
        return f"normalized({self.loss.label})" if hasattr(self, "loss") else "normalized"

    def equation(self, scores: Scores) -> Tensor:
        every = self.loss.equation(scores.for_every_label())
        return scores.label(every) / every.sum(1, keepdim=True)

    def parameters_given(self) -> dict[str, Any]:
        return {"loss": self.loss.config()}

    def config(self) -> dict[str, Any]:
        return {"name": "normalized", **self.parameters_given(), **self._common_config()}
