"""The asymmetric losses of Zhou et al. (2021): AGCE, AUL and AEL, each a function of p_y alone."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import ALF
from jal_hf.losses.conditions import Lead
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, slope_of


@register_loss(
    "agce",
    summary="asymmetric generalised cross entropy",
    formula="[(a + 1)^q - (a + p_y)^q] / q",
    citation=ALF,
    active=True,
    asymmetric=True,
)
class AsymmetricGeneralizedCrossEntropyLoss(RobustLoss):
    """AGCE, generalised cross entropy shifted by a.

    Formula:
        [(a + 1)^q - (a + p_y)^q] / q
    Properties:
        Active; asymmetric where (w_m / w_n) (a / (a + 1))^(1 - q) >= 1, always for q >= 1; in [0, ((a
        + 1)^q - a^q) / q].
    Args:
        a: shift; the larger, the more asymmetric.
        q: exponent.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: a or q not above 0.
    Example:
        >>> import torch
        >>> loss = AsymmetricGeneralizedCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.1815

    Reference:
        Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021, corollary
        1.
    Provenance:
        None.
    """

    def __init__(self, a: float = 0.6, q: float = 0.6, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.name, "a", a, above=0.0)
        self.q = require_number(self.name, "q", q, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        top = float((self.a + 1.0) ** self.q)
        return (top - (self.a + scores.label_p).pow(self.q)) / self.q

    def slope(self, scores: Scores) -> Slope:
        label_p = scores.label_p
        shifted = label_p + self.a
        losses = (float((self.a + 1.0) ** self.q) - shifted.pow(self.q)).mul_(1.0 / self.q)
        return slope_of(scores, losses, shifted.pow_(self.q - 1.0).mul_(label_p).neg_())

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("agce", self.a, self.q),)

    def asymmetry_ratio(self) -> float:
        return float((self.a / (self.a + 1.0)) ** (1.0 - self.q)) if self.q <= 1.0 else 1.0

    def smallest_a(self, lead: Lead) -> float:
        if self.q >= 1.0:
            return 0.0
        share = (lead.next / lead.top) ** (1.0 / (1.0 - self.q))
        return float(share / (1.0 - share))


@register_loss(
    "aul",
    summary="asymmetric unhinged loss",
    formula="[(a - p_y)^p - (a - 1)^p] / p",
    citation=ALF,
    active=True,
    asymmetric=True,
)
class AsymmetricUnhingedLoss(RobustLoss):
    """AUL, the unhinged loss with a shift and a power.

    Formula:
        [(a - p_y)^p - (a - 1)^p] / p
    Properties:
        Active; asymmetric where (w_m / w_n) ((a - 1) / a)^(p - 1) >= 1, always for p <= 1; in [0,
        (a^p - (a - 1)^p) / p].
    Args:
        a: shift; the larger, the more asymmetric.
        p: exponent.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: a not above 1, or p not above 0.
    Example:
        >>> import torch
        >>> loss = AsymmetricUnhingedLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        4.5209

    Reference:
        Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021, corollary
        2.
    Provenance:
        The published code needs num_classes and fails for K other than 10; K is read from the logits
        here.
    """

    least_chosen_a = 2.0

    def __init__(self, a: float = 5.5, p: float = 3.0, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.name, "a", a, above=1.0)
        self.p = require_number(self.name, "p", p, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        bottom = float((self.a - 1.0) ** self.p)
        return ((self.a - scores.label_p).pow(self.p) - bottom) / self.p

    def slope(self, scores: Scores) -> Slope:
        label_p = scores.label_p
        gap = self.a - label_p
        losses = gap.pow(self.p).sub_(float((self.a - 1.0) ** self.p)).mul_(1.0 / self.p)
        return slope_of(scores, losses, gap.pow_(self.p - 1.0).mul_(label_p).neg_())

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("aul", self.a, self.p),)

    def asymmetry_ratio(self) -> float:
        return float(((self.a - 1.0) / self.a) ** (self.p - 1.0)) if self.p >= 1.0 else 1.0

    def smallest_a(self, lead: Lead) -> float:
        if self.p <= 1.0:
            return 1.0
        return float(1.0 / (1.0 - (lead.next / lead.top) ** (1.0 / (self.p - 1.0))))


@register_loss(
    "ael",
    summary="asymmetric exponential loss",
    formula="exp(-p_y / a)",
    citation=ALF,
    active=True,
    asymmetric=True,
)
class AsymmetricExponentialLoss(RobustLoss):
    """AEL, an exponential of the label's probability.

    Formula:
        exp(-p_y / a)
    Properties:
        Active; asymmetric where (w_m / w_n) exp(-1 / a) >= 1; in [exp(-1 / a), 1].
    Args:
        a: temperature; the larger, the more asymmetric.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: a not above 0.
    Example:
        >>> import torch
        >>> loss = AsymmetricExponentialLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.7299

    Reference:
        Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021, corollary
        3.
    Provenance:
        None.
    """

    def __init__(self, a: float = 2.5, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.name, "a", a, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return (-scores.label_p / self.a).exp()

    def slope(self, scores: Scores) -> Slope:
        exponent = scores.label_p.mul_(-1.0 / self.a)
        losses = exponent.exp()
        return slope_of(scores, losses, exponent.mul_(losses))

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("ael", self.a),)

    def asymmetry_ratio(self) -> float:
        return math.exp(-1.0 / self.a)

    def smallest_a(self, lead: Lead) -> float:
        return 1.0 / math.log(lead.top / lead.next) if lead.next else 0.0

    def floor(self, num_classes: int) -> float:
        return math.exp(-1.0 / self.a)
