"""The asymmetric mean square error of the Joint Asymmetric Loss, and the mean square error within it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import JAL, MSE
from jal_hf.losses.conditions import Lead, Verdict, amse_smallest_a, amse_verdict
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, slope_of


def powered_error(scores: Scores, a: float, q: float) -> Tensor:
    """(1/K) sum_k |a e_yk - p_k|^q, without building e_y: the sum over all classes, with y's term exchanged."""
    label_p = scores.label_p
    if q == 2.0:
        others = scores.p.square().sum(1, keepdim=True)
        return (others + a * (a - 2.0 * label_p)) / scores.num_classes
    # p^q = exp(q log p): its gradient stays finite where p underflows to 0, also for q < 1.
    powers = (q * scores.log_p).exp()
    others = powers.sum(1, keepdim=True) - scores.label(powers)
    gap = (a - label_p).clamp_min(torch.finfo(label_p.dtype).tiny)
    return (others + gap.pow(q)) / scores.num_classes


def powered_slope(scores: Scores, a: float, q: float) -> Slope:
    """Closed form of `powered_error`."""
    label_p, count = scores.label_p, scores.num_classes
    if q == 2.0:
        at_label = label_p.mul_(-2.0 * a / count)
        total = torch.linalg.vector_norm(scores.p, dim=1, keepdim=True).square_().mul_(2.0 / count)
        losses = torch.add(at_label, total, alpha=0.5).add_(a * a / count)
        return slope_of(scores, losses, at_label, total=total, square=2.0 / count)
    powers = (q * scores.log_p).exp_()
    label_power = scores.label(powers)
    gap = (a - label_p).clamp_min_(torch.finfo(label_p.dtype).tiny)
    losses = (powers.sum(1, keepdim=True) - label_power).add_(gap.pow(q))
    # Where the gap is closed, clamping it stops the gradient.
    at_label = label_power.add_(label_p * gap.pow(q - 1.0) * (label_p < a)).mul_(-q / count)
    return slope_of(scores, losses.mul_(1.0 / count), at_label, each=powers.mul_(q / count))


@register_loss(
    "amse",
    summary="asymmetric mean square error, the passive half of JAL",
    formula="(1/K) sum_k |a e_yk - p_k|^q",
    citation=JAL,
    passive=True,
    asymmetric=True,
)
class AsymmetricMeanSquareErrorLoss(RobustLoss):
    """AMSE, the square error to a times the label.

    Formula:
        (1/K) sum_k |a e_yk - p_k|^q
    Properties:
        Passive; asymmetric where w_m (a - 1)^(q-1) >= w_n a^(q-1) + sum_{i != m} w_i, always for q <=
        1; for q = 2 that is a >= W / (w_m - w_n). At least its floor (a - 1)^q / K.
    Args:
        a: length of the target; the larger, the more asymmetric.
        q: exponent.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: a below 1, or q not above 0.
    Example:
        >>> import torch
        >>> loss = AsymmetricMeanSquareErrorLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        284.4743

    Reference:
        Wang et al., "Joint Asymmetric Loss for Learning with Noisy Labels", ICCV 2025, theorem on
        noise tolerance.
    Provenance:
        The mean is over classes as well as samples, as in the paper.
    """

    least_chosen_a = 2.0
    raises_a_to_safety = True

    def __init__(self, a: float = 30.0, q: float = 2.0, **common: Any) -> None:
        super().__init__(**common)
        self.a = require_number(self.name, "a", a, at_least=1.0)
        self.q = require_number(self.name, "q", q, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        return powered_error(scores, self.a, self.q)

    def slope(self, scores: Scores) -> Slope:
        return powered_slope(scores, self.a, self.q)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("square", self.a) if self.q == 2.0 else KernelTerm("amse", self.a, self.q),)

    def floor(self, num_classes: int) -> float:
        return float((self.a - 1.0) ** self.q / num_classes)

    def verdict(self, lead: Lead) -> Verdict:
        return amse_verdict(lead, self.a, self.q)

    def smallest_a(self, lead: Lead) -> float:
        return amse_smallest_a(lead, self.q)


@register_loss(
    "mse",
    summary="mean square error of the probabilities (the Brier score over K)",
    formula="(1/K) ||e_y - p||^2, which is amse with a = 1",
    citation=MSE,
    passive=True,
)
class MeanSquareErrorLoss(RobustLoss):
    """MSE, the Brier score over K.

    Formula:
        (1/K) ||e_y - p||^2, which is AMSE with a = 1.
    Properties:
        Passive; neither symmetric nor asymmetric; in [0, 2 / K].
    Shape:
        As `RobustLoss`.
    Example:
        >>> import torch
        >>> loss = MeanSquareErrorLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.0227

    Reference:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    Provenance:
        None.
    """

    def equation(self, scores: Scores) -> Tensor:
        return powered_error(scores, a=1.0, q=2.0)

    def slope(self, scores: Scores) -> Slope:
        return powered_slope(scores, a=1.0, q=2.0)

    def kernel_terms(self) -> KernelTerms:
        return (KernelTerm("square", 1.0),)

    def verdict(self, lead: Lead) -> Verdict:
        return amse_verdict(lead, a=1.0, q=2.0)
