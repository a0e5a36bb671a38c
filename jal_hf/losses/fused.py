"""Autograd functions that find loss and gradient in one go and keep one buffer between forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ValueAndGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

# Rows are taken in blocks of about this many logits on the CPU, so that temporaries stay in the cache.
BLOCK = 1 << 15


class OnePass(torch.autograd.Function):
    """Per-sample losses of rows; their gradient is found on the way and is the one saved buffer.

    The first backward scales that buffer in place and hands it out; a second one (retain_graph) finds it anew.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, rule: ValueAndGradient) -> Tensor:
        losses, gradient = _evaluate(logits, labels, rule)
        ctx.save_for_backward(logits, labels)
        ctx.rule, ctx.gradient = rule, gradient
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        logits, labels = ctx.saved_tensors
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            _, gradient = _evaluate(logits, labels, ctx.rule)
        return gradient.mul_(upstream.unsqueeze(1)).to(logits.dtype), None, None


def one_pass(logits: Tensor, labels: Tensor, rule: ValueAndGradient) -> Tensor:
    """Losses (N,) of logits (N, K), by a rule for (losses, gradient) of some rows at a time."""
    losses: Tensor = OnePass.apply(logits, labels, rule)  # type: ignore[no-untyped-call]
    return losses


def _evaluate(logits: Tensor, labels: Tensor, rule: ValueAndGradient) -> tuple[Tensor, Tensor]:
    count, num_classes = logits.shape
    rows = max(1, BLOCK // num_classes)
    dtype = torch.float64 if logits.dtype is torch.float64 else torch.float32
    if rows >= count or logits.device.type != "cpu":
        return rule(logits.to(dtype), labels)
    losses = torch.empty(count, dtype=dtype)
    gradient = torch.empty((count, num_classes), dtype=dtype)
    for start in range(0, count, rows):
        block = slice(start, start + rows)
        losses[block], gradient[block] = rule(logits[block].to(dtype), labels[block])
    return losses, gradient
