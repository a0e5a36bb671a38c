"""Closed forms: a loss and its derivative by log p, and how the softmax passes that on to the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from jal_hf.losses.fused import Place
from jal_hf.losses.scores import Scores


class Slope(NamedTuple):
    """Losses (N, 1) and d loss / d log p_k = [k = y] at_label + constant + square p_k^2 + each_k.

    `at_label` and `constant` are columns (N, 1), `each` is (N, K), and `total` is the sum over k of all but the
    first, (N, 1); None counts as 0. Each tensor belongs to this slope alone. Of class probabilities t it is the
    mean over them: `at_label` is then (N, K), what belongs to class k times t_k.
    """

    losses: Tensor
    at_label: Tensor
    total: Tensor | None = None
    constant: Tensor | None = None
    square: float = 0.0
    each: Tensor | None = None


def slope_of(
    scores: Scores,
    losses: Tensor,
    at_label: Tensor,
    *,
    total: Tensor | None = None,
    square: float = 0.0,
    each: Tensor | None = None,
) -> Slope:
    """A slope from what belongs to the label, (N, 1), or (N, K) for every label, and is averaged then.

    The rest is the same for every label; `total` may be left out beside `each` alone. All are used up.
    """
    if total is None and each is not None:
        total = each.sum(1, keepdim=True)
    soft = scores.soft
    if soft is None:
        return Slope(losses, at_label, total, None, square, each)
    if square:
        # Scaled row by row, a square is like any other term.
        each = scores.p.square().mul_(square)
    if total is not None:
        mass = soft.sum(1, keepdim=True)
        total, each = total * mass, None if each is None else each * mass
    return Slope(scores.expected(losses), at_label * soft, total, each=each)


def normalised(scores: Scores, values: Tensor, slopes: Tensor | None, *, complement: bool = False) -> Slope:
    """The slope of r = v_y / sum_k v_k, or of 1 - r, for v with d v_k / d log p_k = slopes_k (None: all 1).

    d r / d log p_k = ([k = y] - r) slopes_k / sum_j v_j, with t_k for [k = y] where r is the mean over t. The
    slopes are used up. Where all v of a complement are 0, and with them the slopes, r is 1 / K.
    """
    soft, total = scores.soft, values.sum(1, keepdim=True)
    ratio = scores.label(values) if soft is None else scores.expected(values)
    if complement:
        empty = (total == 0).to(total.dtype)
        total.add_(empty)
        share = empty.div_(scores.num_classes)
        ratio.add_(share if soft is None else share * soft.sum(1, keepdim=True))
    ratio.div_(total)
    beside = ratio / total
    if complement:
        ratio = torch.rsub(ratio, 1.0) if soft is None else soft.sum(1, keepdim=True) - ratio
        total.neg_()
    else:
        beside.neg_()
    if slopes is None:
        at_label = total.reciprocal_() if soft is None else soft / total
        return Slope(ratio, at_label, beside * scores.num_classes, constant=beside)
    at_label = (scores.label(slopes) if soft is None else soft * slopes).div_(total)
    return Slope(ratio, at_label, slopes.sum(1, keepdim=True).mul_(beside), each=slopes.mul_(beside))


def joined(first: Slope, second: Slope, alpha: float, beta: float) -> Slope:
    """The slope of alpha * first + beta * second; both are used up."""
    return Slope(
        _scaled(first.losses, alpha).add_(second.losses, alpha=beta),
        _scaled(first.at_label, alpha).add_(second.at_label, alpha=beta),
        _weighted(first.total, second.total, alpha, beta),
        _weighted(first.constant, second.constant, alpha, beta),
        alpha * first.square + beta * second.square,
        _weighted(first.each, second.each, alpha, beta),
    )


def value_and_gradient(
    logits: Tensor, target: Tensor, slope: Callable[[Scores], Slope], place: Place
) -> Tensor:
    """The losses (N, 1) of labels or class probabilities; the gradient by the logits goes to its place."""
    scores = Scores.without_graph(logits, target, place.gradient, place.scratch)
    found = slope(scores)
    through_softmax(scores, found, place)
    return found.losses


def through_softmax(scores: Scores, slope: Slope, place: Place) -> None:
    """The gradient by the logits from a slope g by log p: g - p sum_k g_k. Scores and slope are used up."""
    _, at_label, total, constant, square, each = slope
    p, gradient = scores.p, place.gradient
    at_all = at_label.sum(1, keepdim=True) if scores.soft is not None else at_label
    total = at_all.clone() if total is None else total.add_(at_all)
    if place.share != 1.0:
        for part in (at_label, total, constant, each):
            if part is not None:
                part.mul_(place.share)
    base = constant if each is None else each if constant is None else each.add_(constant)
    factor = total.neg_()
    if square:
        # p (square p - total): the square's own term and what the softmax takes away.
        factor = torch.add(factor, p, alpha=place.share * square, out=scores.scratch)
    if base is None:
        torch.mul(p, factor, out=gradient)
    else:
        torch.addcmul(base, p, factor, out=gradient)
    if scores.soft is not None:
        gradient.add_(at_label)
    else:
        gradient.scatter_add_(1, scores.label_index, at_label)


def by_autograd(
    logits: Tensor, targets: Tensor, equation: Callable[[Scores], Tensor], place: Place
) -> Tensor:
    """The losses (N, 1) of a few rows, whose graph is thrown away at once; the gradient goes to its place."""
    with torch.enable_grad():
        rows = logits.detach().requires_grad_()
        scores = Scores(rows, targets)
        losses = scores.expected(equation(scores))
        (gradient,) = torch.autograd.grad(losses.sum(), rows)
    torch.mul(gradient, place.share, out=place.gradient)
    return losses.detach()


def _weighted(first: Tensor | None, second: Tensor | None, alpha: float, beta: float) -> Tensor | None:
    """alpha * first + beta * second, in the place of one of them; None counts as 0."""
    if first is None:
        return None if second is None else _scaled(second, beta)
    first = _scaled(first, alpha)
    return first if second is None else first.add_(second, alpha=beta)


def _scaled(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1.0 else values.mul_(factor)
