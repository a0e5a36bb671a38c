"""Loss and gradient of the Joint Asymmetric Losses and their parts, written out: one softmax, no graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class JointTerms(NamedTuple):
    """alpha * NCE (NFL where `gamma` is given) + beta * AMSE with q = 2; a weight of 0 leaves its half out."""

    alpha: float = 0.0
    beta: float = 0.0
    a: float = 1.0
    gamma: float | None = None

    def joined(self, passive: JointTerms, alpha: float, beta: float) -> JointTerms | None:
        """alpha * self + beta * passive, when self is purely active and the other purely passive."""
        if self.beta or passive.alpha:
            return None
        return JointTerms(alpha * self.alpha, beta * passive.beta, passive.a, self.gamma)


class _Part(NamedTuple):
    """A term's loss and its share of d loss / d log p: at the label, summed over k, and minus that beside it."""

    losses: Tensor
    at_label: Tensor
    total: Tensor
    beside: Tensor


def joint_value_and_gradient(logits: Tensor, labels: Tensor, terms: JointTerms) -> tuple[Tensor, Tensor]:
    """(losses (N,), d losses / d logits (N, K)) of logits (N, K) in float32 or float64.

    With l = log p, f_k = m_k l_k, D = sum_k f_k and r = f_y / D (m = 1 for NCE, the focal factor without
    gradient for NFL), d loss / d l_k = alpha ([k = y] m_y - r m_k) / D + 2 beta / K (p_k^2 - [k = y] a p_y);
    the softmax then turns such a g into g - p sum(g).
    """
    column = labels.unsqueeze(1)
    # By hand rather than by log_softmax, whose kernel is slow on short rows and whose exp would come twice.
    log_p = logits - logits.amax(1, keepdim=True)
    p = log_p.exp()
    normaliser = p.sum(1, keepdim=True)
    p.mul_(normaliser.reciprocal())
    log_normaliser = normaliser.log_()
    if terms.alpha == 0.0:
        losses, at_label, total, beside = (torch.zeros_like(normaliser) for _ in range(4))
    elif terms.gamma is None:
        losses, at_label, total, beside = _entropy_part(log_p, log_normaliser, column, terms.alpha)
    else:
        log_p.sub_(log_normaliser)
        losses, at_label, total, beside = _focal_part(log_p, p, column, terms.alpha, terms.gamma)
    if terms.beta == 0.0:
        gradient = torch.addcmul(beside, p, total, value=-1.0)
    else:
        share = terms.beta / logits.shape[1]
        label_p = p.gather(1, column)
        squares = torch.linalg.vecdot(p, p).unsqueeze_(1)
        error = torch.add(squares, label_p, alpha=-2.0 * terms.a).add_(terms.a * terms.a)
        losses.add_(error, alpha=share)
        total.add_(squares.sub_(label_p, alpha=terms.a), alpha=2.0 * share)
        at_label.add_(label_p, alpha=-2.0 * share * terms.a)
        gradient = torch.addcmul(beside, p, torch.sub(total, p, alpha=2.0 * share), value=-1.0)
    gradient.scatter_add_(1, column, at_label)
    return losses.squeeze(1), gradient


def _entropy_part(shifted: Tensor, log_normaliser: Tensor, column: Tensor, alpha: float) -> _Part:
    num_classes = shifted.shape[1]
    scale = shifted.sum(1, keepdim=True).sub_(log_normaliser, alpha=num_classes).reciprocal_()
    losses = shifted.gather(1, column).sub_(log_normaliser).mul_(scale)
    if alpha != 1.0:
        scale = scale.mul_(alpha)
    beside = (losses * scale).neg_()
    if alpha != 1.0:
        losses = losses.mul_(alpha)
    return _Part(losses, scale, torch.add(scale, beside, alpha=num_classes), beside)


def _focal_part(log_p: Tensor, p: Tensor, column: Tensor, alpha: float, gamma: float) -> _Part:
    factor = (1.0 - p).clamp_min_(0.0)
    factor = factor.sqrt_() if gamma == 0.5 else factor.pow_(gamma)
    focal = log_p.mul_(factor)
    scale = focal.sum(1, keepdim=True).reciprocal_()
    losses = focal.gather(1, column).mul_(scale)
    scale = scale.mul_(alpha)
    per_factor = (losses * scale).neg_()
    at_label = factor.gather(1, column).mul_(scale)
    total = torch.addcmul(at_label, per_factor, factor.sum(1, keepdim=True))
    return _Part(losses.mul_(alpha), at_label, total, factor.mul_(per_factor))
