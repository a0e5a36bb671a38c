"""An autograd function that finds loss and gradient in one go and keeps one buffer until the backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jal_hf.losses.inputs import in_full_precision, may_be_several

# Rows are taken in blocks of about this many logits on the CPU, so that temporaries stay in the cache; several
# threads take larger ones, as they wait for each other after every operator.
BLOCK = 1 << 18
# Up to so many logits one more operator costs more than what it saves.
SMALL = 1 << 16


class Place(NamedTuple):
    """Where an evaluation of (N, K) logits writes: the gradient times `share`; `scratch` is room to work in."""

    gradient: Tensor
    scratch: Tensor | None = None
    share: float = 1.0


class Rule(NamedTuple):
    """How a loss is found: the losses (N, 1) of rows given the terms and a place, and the losses by autograd."""

    evaluate: Callable[[Tensor, Tensor, Any, Place], Tensor]
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
    def forward(ctx: Any, logits: Tensor, targets: Tensor, rule: Rule, reduction: str) -> Tensor:
        # What a mean divides by goes into the gradient at once where that saves a sweep over it.
        ctx.share = 1.0 / len(logits) if reduction == "mean" and logits.numel() > SMALL else 1.0
        losses, ctx.gradient = _evaluate(logits, targets, rule, ctx.share)
        ctx.save_for_backward(logits, targets)
        ctx.rule, ctx.reduction = rule, reduction
        return reduced(losses, reduction)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        logits, targets = ctx.saved_tensors
        if torch.is_grad_enabled():
            # create_graph: only autograd's own graph has second derivatives.
            value = reduced(ctx.rule.differentiable(logits, targets), ctx.reduction)
            (gradient,) = torch.autograd.grad(value, logits, upstream, create_graph=True)
            return gradient, None, None, None
        if gradient is None:
            gradient = _evaluate(logits, targets, ctx.rule, ctx.share)[1]
        # Autograd takes the gradient to the dtype of the logits.
        rest = max(len(logits), 1) if ctx.reduction == "mean" and ctx.share == 1.0 else 1
        if may_be_several(upstream):
            factor = upstream.unsqueeze(1) if ctx.reduction == "none" else upstream / rest
            return gradient * factor, None, None, None
        if ctx.reduction == "none":
            return gradient.mul_(upstream.unsqueeze(1)), None, None, None
        if not upstream.is_cpu:
            return gradient.mul_(upstream / rest), None, None, None
        scale = float(upstream.tolist()) / rest  # type: ignore[arg-type]
        return gradient if scale == 1.0 else gradient.mul_(scale), None, None, None


def one_pass(logits: Tensor, targets: Tensor, rule: Rule, reduction: str) -> Tensor:
    """The losses (N,) of logits (N, K), or their sum or mean, with the gradient found on the way.

    The gradient is the one buffer kept; the first backward scales it in place and hands it out, a second one
    (retain_graph) finds it anew.
    """
    losses: Tensor = _OnePass.apply(logits, targets, rule, reduction)
    return losses


def _evaluate(logits: Tensor, targets: Tensor, rule: Rule, share: float) -> tuple[Tensor, Tensor]:
    """(losses (N, 1), their gradient times `share`)."""
    count, num_classes = logits.shape
    dtype = torch.float64 if logits.dtype is torch.float64 else torch.float32
    gradient = torch.empty((count, num_classes), dtype=dtype, device=logits.device)
    threads = torch.get_num_threads()
    block_size = BLOCK if threads == 1 else 2 * threads * BLOCK
    rows = max(1, block_size // num_classes) if logits.is_cpu else max(count, 1)
    # One for all blocks: a fresh one costs more than what is computed in it.
    scratch = torch.empty((min(rows, count), num_classes), dtype=dtype, device=logits.device)
    if rows >= count:
        place = Place(gradient, scratch, share)
        return rule.evaluate(in_full_precision(logits), targets, rule.terms, place), gradient
    losses = torch.empty((count, 1), dtype=dtype)
    for start in range(0, count, rows):
        block = slice(start, min(start + rows, count))
        place = Place(gradient[block], scratch[: block.stop - start], share)
        losses[block] = rule.evaluate(in_full_precision(logits[block]), targets[block], rule.terms, place)
    return losses, gradient
