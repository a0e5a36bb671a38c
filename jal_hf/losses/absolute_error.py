"""Mean absolute error and reverse cross entropy: the symmetric passive losses."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import MAE, SCE
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores


@register_loss(
    "mae",
    summary="mean absolute error of the probabilities",
    formula="scale (1 - p_y); scale 2 is ||e_y - p||_1",
    citation=MAE,
    passive=True,
    symmetric=True,
    asymmetric=True,
)
class MeanAbsoluteErrorLoss(RobustLoss):
    """MAE."""

    def __init__(self, scale: float = 2.0, **common: Any) -> None:
        super().__init__(**common)
        self.scale = require_number(self.label, "scale", scale, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return -self.scale * scores.label(scores.log_p).expm1()


@register_loss(
    "rce",
    summary="reverse cross entropy, a multiple of the absolute error",
    formula="-sum_k p_k log max(e_yk, floor), floor 1e-4, p clamped at eps",
    citation=SCE,
    passive=True,
    symmetric=True,
    asymmetric=True,
)
class ReverseCrossEntropyLoss(RobustLoss):
    """RCE."""

    linear_in_label = False

    def __init__(self, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.eps = require_number(self.label, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        p = scores.p.clamp_min(self.eps)
        return -math.log(1e-4) * (p.sum(1, keepdim=True) - scores.label(p))
