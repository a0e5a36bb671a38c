"""Closed forms: a loss and its derivative by log p, and how the softmax passes that on to the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from jal_hf.losses.scores import Scores


class Slope(NamedTuple):
    """Losses and d loss / d log p_k = [k = y] at_label + beside_k; each tensor belongs to this slope alone.

    `losses` and `at_label` are columns (N, 1); `beside` is (N, K), or (N, 1) when it is the same for every
    class, or None when the loss reads the label's probability only. Of class probabilities t it is the mean over
    them: `at_label` is then (N, K), and d loss / d log p_k = at_label_k + beside_k.
    """

    losses: Tensor
    at_label: Tensor
    beside: Tensor | None = None


def slope_of(scores: Scores, losses: Tensor, at_label: Tensor, beside: Tensor | None = None) -> Slope:
    """A slope from what belongs to the label, (N, 1), or (N, K) for every label, and is averaged then.

    `beside` is the same for every label. All are used up.
    """
    soft = scores.soft
    if soft is None:
        return Slope(losses, at_label, beside)
    mass = None if beside is None else beside * soft.sum(1, keepdim=True)
    return Slope(scores.expected(losses), at_label * soft, mass)


def value_and_gradient(
    logits: Tensor, target: Tensor, slope: Callable[[Scores], Slope]
) -> tuple[Tensor, Tensor]:
    """(losses (N, 1), d losses / d logits (N, K)) of labels or class probabilities, by the softmax's rule."""
    scores = Scores.without_graph(logits, target)
    found = slope(scores)
    return found.losses, through_softmax(scores, found)


def through_softmax(scores: Scores, slope: Slope) -> Tensor:
    """d losses / d logits (N, K): the softmax turns a slope g into g - p sum_k g_k. The scores are used up."""
    _, at_label, beside = slope
    if scores.soft is not None:
        slopes = at_label if beside is None else at_label.add_(beside)
        return slopes.addcmul_(scores.p, slopes.sum(1, keepdim=True), value=-1.0)
    if beside is None:
        gradient = scores.p.mul_(at_label.neg())
    elif beside.shape[1] == 1:
        total = torch.add(at_label, beside, alpha=scores.num_classes)
        gradient = torch.addcmul(beside, scores.p, total, value=-1.0)
    else:
        total = beside.sum(1, keepdim=True).add_(at_label)
        gradient = beside.addcmul_(scores.p, total, value=-1.0)
    return gradient.scatter_add_(1, scores.label_index, at_label)


def by_autograd(
    logits: Tensor, targets: Tensor, equation: Callable[[Scores], Tensor]
) -> tuple[Tensor, Tensor]:
    """(losses, gradient) of a few rows, whose graph is thrown away at once."""
    with torch.enable_grad():
        rows = logits.detach().requires_grad_()
        scores = Scores(rows, targets)
        losses = scores.expected(equation(scores))
        (gradient,) = torch.autograd.grad(losses.sum(), rows)
    return losses.detach(), gradient


def joined(first: Slope, second: Slope, alpha: float, beta: float) -> Slope:
    """The slope of alpha * first + beta * second; both are used up."""
    if first.beside is None:
        beside = None if second.beside is None else _scaled(second.beside, beta)
    elif second.beside is None:
        beside = _scaled(first.beside, alpha)
    else:
        beside = _weighted(first.beside, second.beside, alpha, beta)
    return Slope(
        _weighted(first.losses, second.losses, alpha, beta),
        _weighted(first.at_label, second.at_label, alpha, beta),
        beside,
    )


def normalised(scores: Scores, values: Tensor, slopes: Tensor | None, *, complement: bool = False) -> Slope:
    """The slope of r = v_y / sum_k v_k, or of 1 - r, for v with d v_k / d log p_k = slopes_k (None: all 1).

    d r / d log p_k = ([k = y] - r) slopes_k / sum_j v_j, with t_k for [k = y] where r is the mean over t. The
    slopes are used up.
    """
    soft, total = scores.soft, values.sum(1, keepdim=True)
    ratio = (scores.label(values) if soft is None else scores.expected(values)).div_(total)
    beside = ratio / total
    if complement:
        ratio = torch.rsub(ratio, 1.0) if soft is None else soft.sum(1, keepdim=True) - ratio
        total.neg_()
    else:
        beside.neg_()
    if slopes is None:
        return Slope(ratio, total.reciprocal_() if soft is None else soft / total, beside)
    at_label = (scores.label(slopes) if soft is None else soft * slopes).div_(total)
    return Slope(ratio, at_label, slopes.mul_(beside))


def _weighted(first: Tensor, second: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha * first + beta * second, in the place of the wider one."""
    if first.shape[1] > second.shape[1]:
        first, second, alpha, beta = second, first, beta, alpha
    return _scaled(second, beta).add_(first, alpha=alpha)


def _scaled(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1.0 else values.mul_(factor)
