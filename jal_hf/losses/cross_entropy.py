"""Cross entropy and its normalised form."""

from __future__ import annotations

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import CROSS_ENTROPY, NORMALIZED
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, normalised, slope_of


@register_loss(
    "ce",
    summary="cross entropy, the loss everything else is compared with",
    formula="-log p_y",
    citation=CROSS_ENTROPY,
    active=True,
)
class CrossEntropyLoss(RobustLoss):
    """CE, as `torch.nn.functional.cross_entropy`.

    Formula:
        -log p_y
    Properties:
        Active; neither symmetric nor asymmetric; in [0, inf).
    Shape:
        As `RobustLoss`.
    Example:
        >>> import torch
        >>> loss = CrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.2395

    Reference:
        Good, "Rational Decisions", 1952.
    Provenance:
        None.
    """

    def equation(self, scores: Scores) -> Tensor:
        return -scores.label(scores.log_p)

    def slope(self, scores: Scores) -> Slope:
        losses = -scores.label(scores.log_p)
        return slope_of(scores, losses, torch.full_like(losses, -1.0))

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("ce"),)

    def asymmetry_ratio(self) -> float:
        return 0.0


@register_loss(
    "nce",
    summary="normalised cross entropy",
    formula="log p_y / sum_k log p_k",
    citation=NORMALIZED,
    active=True,
    symmetric=True,
    asymmetric=True,
)
class NormalizedCrossEntropyLoss(RobustLoss):
    """NCE, cross entropy over its sum over labels.

    Formula:
        log p_y / sum_k log p_k
    Properties:
        Active; symmetric: the losses of all labels sum to 1; in [0, 1].
    Shape:
        As `RobustLoss`.
    Example:
        >>> import torch
        >>> loss = NormalizedCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.0508

    Reference:
        Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020,
        equation 8.
    Provenance:
        None.
    """

    approaches_vertex = True

    def equation(self, scores: Scores) -> Tensor:
        return scores.label(scores.log_p) / scores.log_p.sum(1, keepdim=True)

    def slope(self, scores: Scores) -> Slope:
        return normalised(scores, scores.log_p, None)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("nce"),)
