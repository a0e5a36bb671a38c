"""Generalised cross entropy and its normalised form."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import GCE, NORMALIZED
from jal_hf.losses.conditions import WEIGH_DIFFERENTLY, Lead, Verdict
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, normalised, slope_of


@register_loss(
    "gce",
    summary="between cross entropy (q to 0) and absolute error (q = 1)",
    formula="(1 - p_y^q) / q, p clamped at eps",
    citation=GCE,
    active=True,
)
class GeneralizedCrossEntropyLoss(RobustLoss):
    """GCE, the Box-Cox transform of p_y.

    Formula:
        (1 - p_y^q) / q, p clamped at eps.
    Properties:
        Active; asymmetry ratio 0 for q < 1; in [0, 1 / q].
    Args:
        q: 1 is 1 - p_y, q to 0 is cross entropy.
        eps: least value of p that enters.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: q not above 0, or eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = GeneralizedCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.2205

    Reference:
        Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
        Noisy Labels", NeurIPS 2018.
    Provenance:
        The clamp is that of the codes; the formula has none.
    """

    def __init__(self, q: float = 0.7, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.q = require_number(self.name, "q", q, above=0.0)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        log_p = scores.label(scores.log_p).clamp_min(math.log(self.eps))
        return -(self.q * log_p).expm1() / self.q

    def slope(self, scores: Scores) -> Slope:
        log_p = scores.label(scores.log_p)
        power = (log_p * self.q).exp_().mul_(log_p >= math.log(self.eps)).neg_()
        return slope_of(
            scores, log_p.clamp_min_(math.log(self.eps)).mul_(self.q).expm1_().mul_(-1.0 / self.q), power
        )

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("gce", self.q, math.log(self.eps)),)

    def asymmetry_ratio(self) -> float:
        return 0.0 if self.q < 1.0 else 1.0


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
    """NGCE, generalised cross entropy over its sum over labels.

    Formula:
        (1 - p_y^q) / (K - sum_k p_k^q), p clamped at eps.
    Properties:
        Active; symmetric: the losses of all labels sum to 1; in [0, 1].
    Args:
        q: as in GCE.
        eps: least value of p that enters.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: q not above 0, or eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = NormalizedGeneralizedCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.0889

    Reference:
        Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020,
        normalisation theorem.
    Provenance:
        The ALFs code uses eps 1e-7, this 1e-8 unless told.
    """

    def __init__(self, q: float = 0.7, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.q = require_number(self.name, "q", q, above=0.0)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        power = (self.q * scores.log_p.clamp_min(math.log(self.eps))).exp()
        return (1.0 - scores.label(power)) / (scores.num_classes - power.sum(1, keepdim=True))

    def slope(self, scores: Scores) -> Slope:
        log_eps = math.log(self.eps)
        power = scores.log_p.clamp_min(log_eps).mul_(self.q).exp_()
        slopes = (power * (scores.log_p >= log_eps)).mul_(-self.q)
        return normalised(scores, 1.0 - power, slopes)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("ngce", self.q, math.log(self.eps)),)

    def verdict(self, lead: Lead) -> Verdict | None:
        """Moving mass r to the heaviest rival changes the risk by (mean - w_n) r^q / (K - 1) + O(r): down for q < 1."""
        return super().verdict(lead) or (WEIGH_DIFFERENTLY if self.q < 1.0 else None)
