"""The normalised negative losses of ANL, the passive halves of ANL-CE and ANL-FL."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import ANL
from jal_hf.losses.conditions import Lead, Verdict
from jal_hf.losses.focal import focal_factor
from jal_hf.losses.inputs import at_least_something
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, normalised

AT_LARGEST = Verdict(True, None, "symmetric, and the other labels' losses at their largest")


def _complement(scores: Scores, negative: Tensor) -> Tensor:
    """1 - v_y / sum_k v_k; where no p exceeds eps, every v is 0 and the labels share alike, 1 - 1/K."""
    total = negative.sum(1, keepdim=True)
    ratio = scores.label(negative) / at_least_something(total)
    return 1.0 - torch.where(total == 0, 1.0 / scores.num_classes, ratio)


@register_loss(
    "nnce",
    summary="normalised negative cross entropy, the passive half of ANL-CE",
    formula="1 - (A + log p_y) / sum_k (A + log p_k), p at least eps, A = -log eps",
    citation=ANL,
    passive=True,
    symmetric=True,
    asymmetric=True,
)
class NormalizedNegativeCrossEntropyLoss(RobustLoss):
    """NNCE, the complement of a normalised, flipped cross entropy.

    Formula:
        1 - (A + log p_y) / sum_k (A + log p_k), p at least eps, A = -log eps.
    Properties:
        Passive; symmetric: the losses of all labels sum to K - 1; in [0, 1]. Where no p exceeds eps it is 1 - 1/K,
        without a gradient.
    Args:
        eps: least value of p; it sets A.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = NormalizedNegativeCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.6403

    Reference:
        Ye et al., "Active Negative Loss Functions for Learning with Noisy Labels", NeurIPS 2023.
    Provenance:
        eps is 1e-8 in JAL's code, 1e-7 in ANL's. In float16 the published form is NaN; logits are
        taken to float32 here.
    """

    def __init__(self, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        height = -math.log(self.eps)
        return _complement(scores, scores.log_p.clamp_min(-height) + height)

    def slope(self, scores: Scores) -> Slope:
        height = -math.log(self.eps)
        negative = (scores.log_p + height).clamp_min_(0.0)
        return normalised(scores, negative, negative.sign(), complement=True)

    def verdict(self, lead: Lead) -> Verdict:
        return AT_LARGEST

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("nnce", -math.log(self.eps)),)


@register_loss(
    "nnfl",
    summary="normalised negative focal loss, the passive half of ANL-FL",
    formula="1 - (A - FL_y) / (K A - sum_k FL_k), A = -(1 - eps)^gamma log eps, focal factors without gradient",
    citation=ANL,
    passive=True,
    symmetric=True,
    asymmetric=True,
    has_detached_factors=True,
)
class NormalizedNegativeFocalLoss(RobustLoss):
    """NNFL, the same of the focal loss.

    Formula:
        1 - (A - FL_y) / (K A - sum_k FL_k), A = -(1 - eps)^gamma log eps, log p at least log eps, the
        focal factors without gradient.
    Properties:
        Passive; symmetric: the losses of all labels sum to K - 1; in [0, 1]. Where no p exceeds eps it is 1 - 1/K,
        without a gradient.
    Args:
        gamma: strength of the focal factor.
        eps: least value of p; it sets A.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: gamma below 0, or eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = NormalizedNegativeFocalLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.6404

    Reference:
        Ye et al., "Active Negative Loss Functions for Learning with Noisy Labels", NeurIPS 2023.
    Provenance:
        eps is 1e-8 in JAL's code, 1e-7 in ANL's.
    """

    def __init__(self, gamma: float = 0.5, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.gamma = require_number(self.name, "gamma", gamma, at_least=0.0)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        log_eps = math.log(self.eps)
        height = -float((1.0 - self.eps) ** self.gamma) * log_eps
        log_p = scores.log_p.clamp_min(log_eps)
        negative = focal_factor(scores.p.clamp_min(self.eps), self.gamma) * log_p + height
        # At eps the two are equal up to rounding.
        return _complement(scores, negative.clamp_min(0.0))

    def slope(self, scores: Scores) -> Slope:
        height = -float((1.0 - self.eps) ** self.gamma) * math.log(self.eps)
        factor = (1.0 - scores.p).pow_(self.gamma)
        # The focal loss falls with p and is `height` at eps: clamping p there clamps the difference at 0.
        negative = (factor * scores.log_p).add_(height).clamp_min_(0.0)
        return normalised(scores, negative, factor.mul_(negative.sign()), complement=True)

    def verdict(self, lead: Lead) -> Verdict:
        return AT_LARGEST

    def kernel_terms(self) -> KernelTerms:
        height = -float((1.0 - self.eps) ** self.gamma) * math.log(self.eps)
        return (KernelTerm("nnfl", self.gamma, height) if self.gamma else KernelTerm("nnce", height),)
