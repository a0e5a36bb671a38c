"""The autograd function around the Triton kernels, and when it may be used; importing it needs no Triton."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.inputs import may_be_several
from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms

# Up to so many logits a gradient's extra float32 buffer costs nothing worth saving.
SMALL = 1 << 20
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def covers(logits: Tensor) -> bool:
    """Whether the kernels take these logits: on CUDA with Triton at work, not in float64, not empty."""
    if not logits.is_cuda or logits.dtype not in _DTYPES or logits.numel() == 0:
        return False
    return _works_on(logits.device.index)


def one_kernel(
    logits: Tensor,
    labels: Tensor,
    terms: KernelTerms,
    ignore_index: int,
    reduction: str,
    differentiable: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """(losses (N,), their sum or mean over the rows that count; the number of these) of logits (N, K).

    A mean's gradient is kept in the logits' own dtype where they are many, for it is seldom scaled any further;
    else it is kept in float32, so that the incoming gradient (a loss scale, one over a batch size) multiplies it
    before it is rounded, as in the eager path. float16 always does: what a loss scale saves must not vanish first.
    """
    result: tuple[Tensor, Tensor] = _OneKernel.apply(
        logits, labels, terms, ignore_index, reduction, differentiable
    )
    return result


class _OneKernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        terms: KernelTerms,
        ignore_index: int,
        reduction: str,
        differentiable: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        ctx.terms, ctx.ignore_index, ctx.reduction = terms, ignore_index, reduction
        ctx.differentiable = differentiable
        losses, ctx.gradient, counted = _rows(logits, labels, terms, ignore_index, reduction)
        ctx.save_for_backward(logits, labels)
        ctx.mark_non_differentiable(counted)
        # A mean's losses are divided already.
        return losses if reduction == "none" else losses.sum(), counted

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[Tensor, None, None, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        logits, labels = ctx.saved_tensors
        if torch.is_grad_enabled():
            # create_graph: only autograd's own graph has second derivatives.
            counted = labels != ctx.ignore_index
            losses = ctx.differentiable(logits, torch.where(counted, labels, 0)).squeeze(1)
            if ctx.reduction == "mean":
                upstream = upstream / counted.sum().clamp_min(1)
            upstream = torch.where(counted, upstream, 0.0)
            (gradient,) = torch.autograd.grad(losses, logits, upstream, create_graph=True)
            return gradient, None, None, None, None, None
        if gradient is None:
            gradient = _rows(logits, labels, ctx.terms, ctx.ignore_index, ctx.reduction)[1]
        factor = upstream.unsqueeze(1) if ctx.reduction == "none" else upstream
        if may_be_several(upstream):
            return (gradient * factor).to(logits.dtype), None, None, None, None, None
        if gradient.dtype is not logits.dtype:
            scaled = torch.empty_like(logits)
            torch.mul(gradient, factor, out=scaled)
            return scaled, None, None, None, None, None
        if ctx.reduction == "none" or gradient.numel() <= SMALL:
            gradient.mul_(factor)
        else:
            from jal_hf.losses.triton_kernels import rescale

            rescale(gradient, factor)
        return gradient, None, None, None, None, None


def _rows(
    logits: Tensor, labels: Tensor, terms: KernelTerms, ignore_index: int, reduction: str
) -> tuple[Tensor, Tensor, Tensor]:
    from jal_hf.losses.triton_kernels import evaluate_rows

    averaged = reduction == "mean"
    in_place = averaged and logits.numel() > SMALL and logits.dtype is torch.bfloat16
    dtype = torch.bfloat16 if in_place else torch.float32
    if logits.is_cuda and logits.device.index != torch.cuda.current_device():
        # Triton launches on the current device, wherever the tensors lie.
        with torch.cuda.device(logits.device):
            return evaluate_rows(logits, labels, terms, ignore_index, averaged=averaged, gradient_dtype=dtype)
    return evaluate_rows(logits, labels, terms, ignore_index, averaged=averaged, gradient_dtype=dtype)


@cache
def _works_on(device: int) -> bool:
    """Whether a kernel can be built and run there: Triton needs a recent device and a C compiler at run time."""
    try:
        import triton
    except ImportError:
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    logits = torch.zeros((1, 2), device=torch.device("cuda", device))
    labels = torch.zeros(1, dtype=torch.int64, device=logits.device)
    try:
        _rows(logits, labels, (KernelTerm("nce"),), -100, "sum")
    except (RuntimeError, OSError, subprocess.CalledProcessError, triton.TritonError) as error:
        warnings.warn(
            f"Triton cannot build a kernel here ({error}), so the losses use their slower eager form on CUDA; "
            "a C compiler and Python's headers are what it most often lacks.",
            stacklevel=2,
        )
        return False
    return True
