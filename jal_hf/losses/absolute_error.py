"""Mean absolute error and reverse cross entropy: the symmetric passive losses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import MAE, SCE
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, slope_of


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
    """MAE, the absolute error between e_y and p.

    Formula:
        scale (1 - p_y); scale 2 gives ||e_y - p||_1.
    Properties:
        Passive; symmetric, hence completely asymmetric (ratio 1); in [0, scale].
    Args:
        scale: 2 for the L1 distance, 1 for the reduced form of the pairs.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: scale not above 0.
    Example:
        >>> import torch
        >>> loss = MeanAbsoluteErrorLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.426

    Reference:
        Ghosh et al., "Robust Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017.
    Provenance:
        Pairs such as nce+mae use the reduced 1 - p_y (Ma et al., 2020), epsilon-softmax the full 2 (1
        - p_y).
    """

    def __init__(self, scale: float = 2.0, **common: Any) -> None:
        super().__init__(**common)
        self.scale = require_number(self.name, "scale", scale, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return -self.scale * scores.label(scores.log_p).expm1()

    def slope(self, scores: Scores) -> Slope:
        losses = scores.label(scores.log_p).expm1_().mul_(-self.scale)
        return slope_of(scores, losses, scores.label_p.mul_(-self.scale))

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("mae", self.scale),)

    def asymmetry_ratio(self) -> float:
        return 1.0


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
    """RCE, cross entropy with label and prediction exchanged.

    Formula:
        -sum_k p_k log max(e_yk, 1e-4) = 9.2103 sum_{k != y} p_k, p clamped at eps.
    Properties:
        Passive; symmetric up to the clamp; in [0, 9.2103 (1 + K eps)].
    Args:
        eps: least value of p that enters.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: eps outside (0, 1).
    Example:
        >>> import torch
        >>> loss = ReverseCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        1.9619

    Reference:
        Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019,
        equation 5.
    Provenance:
        The paper writes A = log 0; its code, and this, take A = log 1e-4.
    """

    def __init__(self, eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        p = scores.p.clamp_min(self.eps)
        return -math.log(1e-4) * (p.sum(1, keepdim=True) - scores.label(p))

    def slope(self, scores: Scores) -> Slope:
        height = -math.log(1e-4)
        clamped = scores.p.clamp_min(self.eps)
        losses = (clamped.sum(1, keepdim=True) - scores.label(clamped)).mul_(height)
        # A probability below eps is clamped, and has no slope. The softmax takes H p from every slope H p; leaving
        # both out, only what is clamped is left, and nothing cancels.
        at_label = F.threshold(scores.label_p, self.eps, 0.0).mul_(-height)
        each = torch.threshold_(scores.p.neg(), -self.eps, 0.0).mul_(height)
        return slope_of(scores, losses, at_label, each=each)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("rce", self.eps, -math.log(1e-4)),)

    def asymmetry_ratio(self) -> float:
        return 1.0
