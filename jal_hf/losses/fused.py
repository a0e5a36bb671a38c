"""An autograd function that finds loss and gradient in one go and keeps one buffer until the backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jal_hf.losses.inputs import in_full_precision

# Rows are taken in blocks of about this many logits on the CPU, so that temporaries stay in the cache.
BLOCK = 1 << 18


class Rule(NamedTuple):
    """How a loss is found: (losses (N, 1), gradient) of some rows given the terms, and the losses by autograd."""

    evaluate: Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]
    terms: Any
    differentiable: Callable[[Tensor, Tensor], Tensor]


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Losses (N,) or (N, 1): their mean, their sum, or themselves as (N,). The mean of none is 0."""
    if reduction == "none":
        return losses.reshape(-1)
    if reduction == "mean" and losses.shape[0]:
        return losses.mean()
    return losses.sum()


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, rule: Rule, reduction: str) -> Tensor:
        losses, ctx.gradient = _evaluate(logits, labels, rule)
        ctx.save_for_backward(logits, labels)
        ctx.rule, ctx.reduction = rule, reduction
        return reduced(losses, reduction)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        if torch.is_grad_enabled():
            # create_graph: only autograd's own graph has second derivatives.
            logits, labels = ctx.saved_tensors
            value = reduced(ctx.rule.differentiable(logits, labels), ctx.reduction)
            (gradient,) = torch.autograd.grad(value, logits, upstream, create_graph=True)
            return gradient, None, None, None
        if gradient is None:
            logits, labels = ctx.saved_tensors
            _, gradient = _evaluate(logits, labels, ctx.rule)
        # Autograd takes the gradient to the dtype of the logits.
        return gradient.mul_(_share_of_a_row(upstream, ctx.reduction, gradient.shape[0])), None, None, None


def _share_of_a_row(upstream: Tensor, reduction: str, rows: int) -> Tensor | float:
    """What each row's gradient is multiplied by, as a column or a number."""
    if reduction == "none":
        return upstream.unsqueeze(1)
    return upstream / rows if reduction == "mean" else upstream


def one_pass(logits: Tensor, labels: Tensor, rule: Rule, reduction: str) -> Tensor:
    """The losses (N,) of logits (N, K), or their sum or mean, with the gradient found on the way.

    The gradient is the one buffer kept; the first backward scales it in place and hands it out, a second one
    (retain_graph) finds it anew.
    """
    losses: Tensor = _OnePass.apply(logits, labels, rule, reduction)
    return losses


def _evaluate(logits: Tensor, labels: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    count, num_classes = logits.shape
    rows = max(1, BLOCK // num_classes)
    if rows >= count or not logits.is_cpu:
        return rule.evaluate(in_full_precision(logits), labels, rule.terms)
    dtype = torch.float64 if logits.dtype is torch.float64 else torch.float32
    losses = torch.empty((count, 1), dtype=dtype)
    gradient = torch.empty((count, num_classes), dtype=dtype)
    for start in range(0, count, rows):
        block = slice(start, start + rows)
        losses[block], gradient[block] = rule.evaluate(logits[block].to(dtype), labels[block], rule.terms)
    return losses, gradient
