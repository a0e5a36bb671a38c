"""The focal loss and its normalised form; their modulating factors carry no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import FOCAL, NORMALIZED
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, normalised, slope_of


def focal_factor(p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma without gradient; a rounding excess of p over 1 counts as 1."""
    rest = (1.0 - p.detach()).clamp_min_(0.0)
    if gamma == 0.5:
        return rest.sqrt_()
    return rest if gamma == 1.0 else rest.pow_(gamma)


@register_loss(
    "fl",
    summary="cross entropy that turns down samples already well classified",
    formula="-(1 - p_y)^gamma log p_y, the factor (1 - p_y)^gamma without gradient",
    citation=FOCAL,
    active=True,
    has_detached_factors=True,
)
class FocalLoss(RobustLoss):
    """FL, cross entropy weighted by (1 - p_y)^gamma.

    Formula:
        -(1 - p_y)^gamma log p_y, the factor (1 - p_y)^gamma without gradient.
    Properties:
        Active; neither symmetric nor asymmetric; in [0, inf).
    Args:
        gamma: strength of the factor; 0 is cross entropy.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: gamma below 0.
    Example:
        >>> import torch
        >>> loss = FocalLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.1106

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    Provenance:
        The paper differentiates the factor; the codes of every paper compared here do not, and so it
        is here.
    """

    def __init__(self, gamma: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.gamma = require_number(self.name, "gamma", gamma, at_least=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return -focal_factor(scores.label_p, self.gamma) * scores.label(scores.log_p)

    def slope(self, scores: Scores) -> Slope:
        at_label = focal_factor(scores.label_p, self.gamma).neg_()
        return slope_of(scores, scores.label(scores.log_p).mul_(at_label), at_label)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("fl", self.gamma) if self.gamma else KernelTerm("ce"),)

    def asymmetry_ratio(self) -> float:
        return 0.0


@register_loss(
    "nfl",
    summary="normalised focal loss",
    formula="FL(y) / sum_k FL(k), the focal factors without gradient in both",
    citation=NORMALIZED,
    active=True,
    symmetric=True,
    asymmetric=True,
    has_detached_factors=True,
)
class NormalizedFocalLoss(RobustLoss):
    """NFL, the focal loss over its sum over labels.

    Formula:
        FL(y) / sum_k FL(k), the focal factors without gradient in numerator and denominator.
    Properties:
        Active; symmetric: the losses of all labels sum to 1; in [0, 1].
    Args:
        gamma: strength of the focal factor; 0 is NCE.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: gamma below 0.
    Example:
        >>> import torch
        >>> loss = NormalizedFocalLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.0254

    Reference:
        Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020.
    Provenance:
        Detached as in the authors' codes; the paper does not say.
    """

    approaches_vertex = True

    def __init__(self, gamma: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.gamma = require_number(self.name, "gamma", gamma, at_least=0.0)

    def equation(self, scores: Scores) -> Tensor:
        focal = focal_factor(scores.p, self.gamma) * scores.log_p
        return scores.label(focal) / focal.sum(1, keepdim=True)

    def slope(self, scores: Scores) -> Slope:
        factor = torch.rsub(scores.p, 1.0).pow_(self.gamma)
        return normalised(scores, factor * scores.log_p, factor)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("nfl", self.gamma) if self.gamma else KernelTerm("nce"),)
