"""Generalised cross entropy and its normalised form."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import GCE, NORMALIZED
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores


@register_loss(
    "gce",
    summary="between cross entropy (q to 0) and absolute error (q = 1)",
    formula="(1 - p_y^q) / q, p clamped at eps",
    citation=GCE,
    active=True,
)
class GeneralizedCrossEntropyLoss(RobustLoss):
    """GCE."""

    def __init__(self, q: float = 0.7, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.q = require_number(self.label, "q", q, above=0.0)
        self.eps = require_number(self.label, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        log_p = scores.label(scores.log_p).clamp_min(math.log(self.eps))
        return -(self.q * log_p).expm1() / self.q


@register_loss(
    "ngce",
    summary="normalised generalised cross entropy",
    formula="(1 - p_y^q) / (K - sum_k p_k^q), p clamped at eps",
    citation=NORMALIZED,
    active=True,
    symmetric=True,
    asymmetric=True,
)
class NormalizedGeneralizedCrossEntropyLoss(RobustLoss):
    """NGCE."""

    def __init__(self, q: float = 0.7, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.q = require_number(self.label, "q", q, above=0.0)
        self.eps = require_number(self.label, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        power = (self.q * scores.log_p.clamp_min(math.log(self.eps))).exp()
        return (1.0 - scores.label(power)) / (scores.num_classes - power.sum(1, keepdim=True))
