"""Loss and gradient of the Joint Asymmetric Losses and their parts, written out: one softmax, no graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class JointTerms:
    """alpha * NCE (or NFL with `gamma`) + beta * AMSE with q = 2; a weight of 0 leaves its half out."""

    alpha: float = 0.0
    beta: float = 0.0
    a: float = 1.0
    gamma: float | None = None

    def joined(self, passive: JointTerms, alpha: float, beta: float) -> JointTerms | None:
        """alpha * self + beta * passive, when self is purely active and the other purely passive."""
        if self.beta or passive.alpha:
            return None
        return JointTerms(alpha * self.alpha, beta * passive.beta, passive.a, self.gamma)


def joint_value_and_gradient(logits: Tensor, labels: Tensor, terms: JointTerms) -> tuple[Tensor, Tensor]:
    """(losses (N,), d losses / d logits (N, K)) of logits (N, K) in float32 or float64.

    With l = log p, f_k = m_k l_k, D = sum_k f_k and r = f_y / D (m = 1 for NCE, the focal factor without
    gradient for NFL), d loss / d l_k = alpha ([k = y] m_y - r m_k) / D + 2 beta / K (p_k^2 - [k = y] a p_y);
    the softmax then turns g into g - p sum(g).
    """
    column = labels.unsqueeze(1)
    log_p = torch.log_softmax(logits, dim=1)
    p = log_p.exp()
    label_log_p = log_p.gather(1, column)
    num_classes = logits.shape[1]
    losses: Tensor | None = None
    at_label: Tensor | None = None
    total: Tensor | None = None
    spread: Tensor | None = None
    if terms.alpha:
        if terms.gamma is None:
            scale = terms.alpha / log_p.sum(1, keepdim=True)
            part = scale * label_log_p
            at_label = scale
            total = scale - (part * scale) * (num_classes / terms.alpha)
            spread = part * scale / terms.alpha
        else:
            factor = _focal_factor(p, terms.gamma)
            focal = log_p.mul_(factor)
            scale = terms.alpha / focal.sum(1, keepdim=True)
            part = scale * focal.gather(1, column)
            at_label = scale * factor.gather(1, column)
            per_factor = part * scale / terms.alpha
            total = at_label - per_factor * factor.sum(1, keepdim=True)
            spread = factor.mul_(per_factor)
        losses = part
    if terms.beta:
        label_p = label_log_p.exp()
        slope = 2.0 * terms.beta / num_classes
        excess = torch.linalg.vector_norm(p, dim=1, keepdim=True).square_().sub_(label_p, alpha=terms.a)
        # excess = sum p^2 - a p_y, so that sum_k |a e_yk - p_k|^2 = excess - a p_y + a^2.
        error = (excess - terms.a * label_p).add_(terms.a * terms.a).mul_(0.5 * slope)
        losses = error if losses is None else losses + error
        pull = label_p.mul_(-slope * terms.a)
        at_label = pull if at_label is None else at_label + pull
        excess = excess.mul_(slope)
        total = excess if total is None else total + excess
        gradient = (p * slope).sub_(total).mul_(p)
    else:
        gradient = p.mul_(-total)  # type: ignore[operator]
    if spread is not None:
        gradient = gradient.sub_(spread)
    gradient.scatter_add_(1, column, at_label)  # type: ignore[arg-type]
    return losses.squeeze(1), gradient  # type: ignore[union-attr]


def _focal_factor(p: Tensor, gamma: float) -> Tensor:
    rest = (1.0 - p).clamp_min_(0.0)
    return rest.sqrt_() if gamma == 0.5 else rest.pow_(gamma)
