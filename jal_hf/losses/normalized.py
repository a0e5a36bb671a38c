"""Makes any loss symmetric: L(p, y) / sum_j L(p, j)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.factory import as_loss
from jal_hf.losses.scores import Scores


class Normalized(RobustLoss):
    """L(p, y) / sum_j L(p, j)."""

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
