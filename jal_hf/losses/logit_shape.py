"""Losses that reshape the logits first: clipped cross entropy, and the distributionally robust LDR."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import LDR, LOGIT_CLIP
from jal_hf.losses.fused import Place, Rule
from jal_hf.losses.parameters import require_choice, require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, slope_of, through_softmax


@register_loss(
    "ce+lc",
    summary="cross entropy of logits clipped in norm",
    formula="-log softmax(z min(1, delta / ||z||))_y (mode paper); mode official: see the class",
    citation=LOGIT_CLIP,
    active=True,
)
class ClippedCrossEntropyLoss(RobustLoss):
    """CE+LC, cross entropy of logits clipped in norm.

    Formula:
        mode paper: -log softmax(z min(1, delta / ||z||))_y. mode official: where n = ||z|| + eps
        exceeds 1 / delta, z becomes delta z / n; then -log max(p_y, eps).
    Properties:
        Active; bounded, neither symmetric nor asymmetric.
    Args:
        delta: bound on the norm.
        mode: `official` is what the published tables used; it is discontinuous at n = 1 / delta.
        eps: see the formula.
    Shape:
        As `RobustLoss`.
    Raises:
        ValueError: delta not above 0, eps outside (0, 1), or another mode.
    Example:
        >>> import torch
        >>> loss = ClippedCrossEntropyLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.152

    Reference:
        Wei et al., "Mitigating Memorization of Noisy Labels by Clipping the Model Prediction", ICML
        2023, equation 6.
    Provenance:
        The code clips beyond 1 / delta to norm delta, the paper beyond delta; both are here.
    """

    def __init__(self, delta: float = 2.5, mode: str = "official", eps: float = 1e-8, **common: Any) -> None:
        super().__init__(**common)
        self.delta = require_number(self.name, "delta", delta, above=0.0)
        self.mode = require_choice(self.name, "mode", mode, ("official", "paper"))
        self.eps = require_number(self.name, "eps", eps, above=0.0, below=1.0)

    def equation(self, scores: Scores) -> Tensor:
        norm = torch.linalg.vector_norm(scores.logits, dim=1, keepdim=True)
        if self.mode == "paper":
            clipped = scores.logits * (self.delta / norm.clamp_min(self.delta))
            return -scores.label(torch.log_softmax(clipped, dim=1))
        norm = norm + self.eps
        scale = torch.where(norm > 1.0 / self.delta, self.delta / norm, torch.ones_like(norm))
        log_p = torch.log_softmax(scores.logits * scale, dim=1)
        return -scores.label(log_p).clamp_min(math.log(self.eps))

    def _rule(self, logits: Tensor) -> Rule:
        return Rule(_clipped_value_and_gradient, self, self._column)


def _clipped_value_and_gradient(
    logits: Tensor, target: Tensor, loss: ClippedCrossEntropyLoss, place: Place
) -> Tensor:
    """With u = delta z / n and g = d loss / d u, d loss / d z = (delta / n) (g - z (g . z) / (n ||z||))."""
    length = torch.linalg.vector_norm(logits, dim=1, keepdim=True)
    norm, bound = (length, loss.delta) if loss.mode == "paper" else (length + loss.eps, 1.0 / loss.delta)
    beyond = norm > bound
    scale = torch.where(beyond, loss.delta / norm, 1.0)
    scores = Scores.without_graph(logits * scale, target, place.gradient, place.scratch)
    losses = scores.label(scores.log_p).neg_()
    at_label = torch.full_like(losses, -1.0)
    if loss.mode == "official":
        at_label.mul_(losses <= -math.log(loss.eps))
        losses.clamp_max_(-math.log(loss.eps))
    slope = slope_of(scores, losses, at_label)
    through_softmax(scores, slope, place)
    gradient = place.gradient
    along = torch.linalg.vecdot(gradient, logits).unsqueeze(1)
    tiny = torch.finfo(logits.dtype).tiny
    along.mul_(beyond).div_(length.mul_(norm).clamp_min_(tiny))
    gradient.addcmul_(logits, along, value=-1.0).mul_(scale)
    return slope.losses


@register_loss(
    "ldr",
    summary="label-distributionally robust loss with KL regularisation",
    formula="lam log((1/K) sum_k exp((s_k - s_y + threshold [k != y]) / lam)), s = softplus(z) / mean softplus(z)",
    citation=LDR,
)
class LabelDistributionallyRobustLoss(RobustLoss):
    """LDR-KL, a soft maximum of margins.

    Formula:
        lam log((1/K) sum_k exp((s_k - s_y + threshold [k != y]) / lam)), s = softplus(z) / mean_k
        softplus(z).
    Properties:
        Neither active nor passive, as it is no sum over classes; neither symmetric nor asymmetric.
    Args:
        threshold: margin asked of the other classes.
        lam: softness of the maximum.
    Shape:
        As `RobustLoss`; soft targets are refused.
    Raises:
        ValueError: threshold below 0, or lam not above 0.
    Example:
        >>> import torch
        >>> loss = LabelDistributionallyRobustLoss()
        >>> round(loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)
        -0.7353

    Reference:
        Zhu et al., "Label Distributionally Robust Losses for Multi-class Classification", ICML 2023.
    Provenance:
        None.
    """

    soft_targets = False

    def __init__(self, threshold: float = 0.1, lam: float = 10.0, **common: Any) -> None:
        super().__init__(**common)
        self.threshold = require_number(self.name, "threshold", threshold, at_least=0.0)
        self.lam = require_number(self.name, "lam", lam, above=0.0)

    def equation(self, scores: Scores) -> Tensor:
        softened = F.softplus(scores.logits)
        mean = softened.mean(1, keepdim=True).clamp_min(torch.finfo(softened.dtype).tiny)
        s = (softened / mean + self.threshold) / self.lam
        total = torch.logsumexp(s, dim=1, keepdim=True)
        # The sum counts the label with its threshold; take that out again, relative to the sum.
        gap = scores.label(s) - total
        surplus = math.expm1(-self.threshold / self.lam)
        return self.lam * (
            (gap.exp() * surplus).log1p() - gap + (self.threshold / self.lam - math.log(scores.num_classes))
        )

    def _rule(self, logits: Tensor) -> Rule:
        return Rule(_robust_value_and_gradient, self, self._column)


def _robust_value_and_gradient(
    logits: Tensor, labels: Tensor, loss: LabelDistributionallyRobustLoss, place: Place
) -> Tensor:
    """LDR is lam (CE - log K) of the logits s / lam, less threshold / lam at the label.

    With g = d loss / d s and m the mean softplus, d loss / d softplus(z) = (g - (g . s) / K) / m.
    """
    num_classes = logits.shape[1]
    softened = F.softplus(logits)
    mean = softened.mean(1, keepdim=True).clamp_min_(torch.finfo(logits.dtype).tiny)
    s = softened.div_(mean)
    margins = s * (1.0 / loss.lam)
    margins.scatter_add_(1, labels.unsqueeze(1), torch.full_like(mean, -loss.threshold / loss.lam))
    scores = Scores.without_graph(margins, labels, place.gradient, place.scratch)
    losses = scores.label(scores.log_p).add_(math.log(num_classes)).mul_(-loss.lam)
    through_softmax(scores, Slope(losses, torch.full_like(losses, -1.0)), place)
    gradient = place.gradient
    along = torch.linalg.vecdot(gradient, s).unsqueeze(1).mul_(1.0 / num_classes)
    gradient.sub_(along).div_(mean).mul_(logits.sigmoid())
    return losses
