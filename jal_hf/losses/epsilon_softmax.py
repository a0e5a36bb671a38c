"""Cross entropy and focal loss of the epsilon-softmax, which pulls the prediction to its own argmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import EPSILON_SOFTMAX
from jal_hf.losses.focal import focal_factor
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, slope_of


def epsilon_softmax_label(scores: Scores, m: float, eps: float) -> Tensor:
    """p^_y = (p_y + m [y = argmax p]) / (m + 1), clamped at eps."""
    hit = scores.label_index == scores.logits.argmax(1, keepdim=True)
    return ((scores.label_p + m * hit) / (m + 1.0)).clamp_min(eps)


def epsilon_softmax_slope(scores: Scores, m: float, eps: float) -> tuple[Tensor, Tensor]:
    """(p^_y, d log p^_y / d log p_y), columns."""
    hit = scores.label_index == scores.logits.argmax(1, keepdim=True)
    label_p = scores.label_p
    pulled = torch.add(label_p, hit, alpha=m).mul_(1.0 / (m + 1.0))
    slope = label_p.mul_(1.0 / (m + 1.0)).mul_(pulled >= eps)
    pulled.clamp_min_(eps)
    return pulled, slope.div_(pulled)


@register_loss(
    "ece",
    summary="cross entropy of the epsilon-softmax",
    formula="-log p^_y, p^ = (p + m onehot(argmax p)) / (m + 1), clamped at eps",
    citation=EPSILON_SOFTMAX,
    active=True,
)
class EpsilonCrossEntropyLoss(RobustLoss):
    """ECE, cross entropy of a prediction pulled to its own argmax.

    Formula:
        -log p^_y, p^ = (p + m onehot(argmax p)) / (m + 1), clamped at eps.
    Properties:
        Active; neither symmetric nor asymmetric; in [0, -log eps].
    Args:
        m: strength of the pull; 0 is cross entropy.
        eps: least value of p that enters.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: m below 0, or eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = EpsilonCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.0

    Reference:
        Wang et al., "epsilon-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise",
        NeurIPS 2024.
    Provenance:
        None.
    """

    def __init__(self, m: float = 1e5, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.m = require_number(self.name, "m", m, at_least=0.0)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        return -epsilon_softmax_label(scores, self.m, self.eps).log()

    def slope(self, scores: Scores) -> Slope:
        p, at_label = epsilon_softmax_slope(scores, self.m, self.eps)
        return slope_of(scores, p.log_().neg_(), at_label.neg_())

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("ece", self.m, 0.0, self.eps),)


@register_loss(
    "efl",
    summary="focal loss of the epsilon-softmax",
    formula="-(1 - p^_y)^gamma log p^_y, the factor without gradient, p^ as in ece",
    citation=EPSILON_SOFTMAX,
    active=True,
    has_detached_factors=True,
)
class EpsilonFocalLoss(RobustLoss):
    """EFL, focal loss of the same prediction.

    Formula:
        -(1 - p^_y)^gamma log p^_y, the factor without gradient; p^ as in ECE.
    Properties:
        Active; neither symmetric nor asymmetric; in [0, -log eps].
    Args:
        m: strength of the pull.
        gamma: strength of the focal factor.
        eps: least value of p that enters.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: m or gamma below 0, or eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = EpsilonFocalLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.0

    Reference:
        Wang et al., "epsilon-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise",
        NeurIPS 2024.
    Provenance:
        None.
    """

    def __init__(self, m: float = 1e5, gamma: float = 0.1, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.m = require_number(self.name, "m", m, at_least=0.0)
        self.gamma = require_number(self.name, "gamma", gamma, at_least=0.0)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        p = epsilon_softmax_label(scores, self.m, self.eps)
        return -focal_factor(p, self.gamma) * p.log()

    def slope(self, scores: Scores) -> Slope:
        p, at_label = epsilon_softmax_slope(scores, self.m, self.eps)
        factor = focal_factor(p, self.gamma).neg_()
        return slope_of(scores, p.log_().mul_(factor), at_label.mul_(factor))

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("efl" if self.gamma else "ece", self.m, self.gamma, self.eps),)
