"""The asymmetric losses of Zhou et al. (2021): AGCE, AUL and AEL, each a function of p_y alone."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import ALF
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores


@register_loss(
    "agce",
    summary="asymmetric generalised cross entropy",
    formula="[(a + 1)^q - (a + p_y)^q] / q",
    citation=ALF,
    active=True,
    asymmetric=True,
)
class AsymmetricGeneralizedCrossEntropyLoss(RobustLoss):
    """AGCE."""

    def __init__(self, a: float = 0.6, q: float = 0.6, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.label, "a", a, above=0.0)
        self.q = require_number(self.label, "q", q, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return ((self.a + 1.0) ** self.q - (self.a + scores.label_p).pow(self.q)) / self.q


@register_loss(
    "aul",
    summary="asymmetric unhinged loss",
    formula="[(a - p_y)^p - (a - 1)^p] / p",
    citation=ALF,
    active=True,
    asymmetric=True,
)
class AsymmetricUnhingedLoss(RobustLoss):
    """AUL."""

    def __init__(self, a: float = 5.5, p: float = 3.0, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.label, "a", a, above=1.0)
        self.p = require_number(self.label, "p", p, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return ((self.a - scores.label_p).pow(self.p) - (self.a - 1.0) ** self.p) / self.p


@register_loss(
    "ael",
    summary="asymmetric exponential loss",
    formula="exp(-p_y / a)",
    citation=ALF,
    active=True,
    asymmetric=True,
)
class AsymmetricExponentialLoss(RobustLoss):
    """AEL."""

    def __init__(self, a: float = 2.5, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.label, "a", a, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return (-scores.label_p / self.a).exp()

    def floor(self, num_classes: int) -> float:
        return math.exp(-1.0 / self.a)
