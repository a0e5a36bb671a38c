"""Triton kernels of the Joint Asymmetric Losses: each row's loss and gradient from one reading of its logits.

In the notation here l = log p, m is the factor of a class (1 for NCE, the focal factor for NFL) and f = m l; the
maths is that of `slope.normalised` and `squared_error.powered_slope`. Sums and products are float32 whatever the
logits are. Imported only where a kernel is wanted, as `triton` need not be installed; `TRITON_INTERPRET=1` runs it
on the CPU.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# What a kernel takes and returns are Triton's own values, for which it has no public types; constants of its
# compilation are written in capitals, as is usual in Triton.
# ruff: noqa: N803

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from jal_hf.losses.closed_form import JointTerms

# Rows up to the first length stay in registers; longer ones are read again, from the cache, in blocks of the second.
ROW_IN_REGISTERS = 16384
BLOCK_OF_LONG_ROW = 8192
# Up to so many labels are counted by every program itself, which saves small batches a launch or two.
LABELS_COUNTED_IN_PLACE = 1024
_ELEMENTS_PER_PROGRAM = 1024


class RowResults(NamedTuple):
    """Losses (N,) and their gradients (N, K), zero for ignored rows, and the number of the other rows, ()."""

    losses: Tensor
    gradient: Tensor
    counted: Tensor


def joint_rows(
    logits: Tensor,
    labels: Tensor,
    terms: JointTerms,
    ignore_index: int,
    *,
    averaged: bool,
    gradient_dtype: torch.dtype,
) -> RowResults:
    """Loss and gradient of every row of logits (N, K), N > 0, in half precision or float32.

    `averaged` divides both by the number of counted rows. A label that is neither in [0, K) nor `ignore_index`
    has a loss of NaN: to raise an error, the host would have to wait for the device at every step.
    """
    rows, classes = logits.shape
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    labels = labels.contiguous()
    gradient = torch.empty((rows, classes), dtype=gradient_dtype, device=logits.device)
    buffer = torch.empty(rows + 1, dtype=torch.float32, device=logits.device)
    losses, counted = buffer[:rows], buffer[rows]
    count_in_place = rows <= LABELS_COUNTED_IN_PLACE
    if not count_in_place:
        counted = (labels != ignore_index).sum(dtype=torch.float32)
    arguments = (logits, labels, losses, gradient, counted, logits.stride(0), rows, ignore_index)
    # With gamma = 0 every focal factor is 1.
    focal = bool(terms.gamma)
    numbers = (terms.alpha, terms.beta / classes, terms.a, terms.gamma or 0.0)
    options = {
        "CLASSES": classes,
        # Rows that begin at multiples of 8 numbers are read 8 at a time, which Triton cannot know by itself.
        "ALIGNED": math.gcd(logits.stride(0), 16),
        "ACTIVE": terms.alpha != 0.0,
        "FOCAL": focal,
        "ROOT": terms.gamma == 0.5,
        "PASSIVE": terms.beta != 0.0,
        "AVERAGED": averaged,
        "COUNTED_HERE": LABELS_COUNTED_IN_PLACE if count_in_place else 0,
        # Said, because the default changes between releases of Triton.
        "enable_fp_fusion": True,
    }
    block = triton.next_power_of_2(classes)
    if block > ROW_IN_REGISTERS:
        _long_rows[(rows,)](*arguments, *numbers, **options, BLOCK=BLOCK_OF_LONG_ROW, num_warps=16)
    else:
        together = max(1, _ELEMENTS_PER_PROGRAM // block)
        warps = 4 if block <= 2048 else 8 if block <= 4096 else 16
        grid = (triton.cdiv(rows, together),)
        _short_rows[grid](*arguments, *numbers, **options, ROWS=together, BLOCK=block, num_warps=warps)
    return RowResults(losses, gradient, counted)


def rescale(gradient: Tensor, factor: Tensor) -> None:
    """Multiplies a contiguous gradient by a factor () in place; a factor of 1 costs no reading and no waiting."""
    block = 8192
    grid = (triton.cdiv(gradient.numel(), block),)
    _rescale[grid](gradient, factor, gradient.numel(), BLOCK=block, enable_fp_fusion=True)


@triton.jit(do_not_specialize=["rows", "ignore_index"])
def _short_rows(
    logits, labels, losses, gradient, counted, stride, rows, ignore_index, alpha, share, a, gamma,
    CLASSES: tl.constexpr, ALIGNED: tl.constexpr, ACTIVE: tl.constexpr, FOCAL: tl.constexpr, ROOT: tl.constexpr,
    PASSIVE: tl.constexpr, AVERAGED: tl.constexpr, COUNTED_HERE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present = row < rows
    # Rows beyond the last repeat it, so that no arithmetic meets an empty row; they are not stored.
    row = tl.minimum(row, rows - 1)
    column = tl.arange(0, BLOCK)[None, :]
    inside = column < CLASSES
    label = tl.load(labels + row)
    is_label = column == label[:, None]
    start = tl.multiple_of(row * stride, ALIGNED)[:, None]
    z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32)
    z -= tl.max(z, axis=1)[:, None]
    p = tl.exp(z)
    normaliser = tl.sum(p, axis=1)
    p *= (1.0 / normaliser)[:, None]
    log_p = z - tl.log(normaliser)[:, None]
    label_p = tl.sum(tl.where(is_label, p, 0.0), axis=1)
    label_log_p = tl.sum(tl.where(is_label, log_p, 0.0), axis=1)
    factor = _factor(p, gamma, FOCAL, ROOT)
    loss, square, per_factor, total, at_label = _coefficients(
        label_p,
        label_log_p,
        tl.sum(tl.where(is_label, factor, 0.0), axis=1),
        tl.sum(tl.where(inside, factor * log_p, 0.0), axis=1),
        tl.sum(tl.where(inside, factor, 0.0), axis=1),
        tl.sum(p * p, axis=1),
        alpha, share, a, _scale(labels, counted, rows, ignore_index, AVERAGED, COUNTED_HERE), ACTIVE, PASSIVE,
    )  # fmt: skip
    slope = factor * per_factor[:, None] + p * (square * p - total[:, None])
    slope += tl.where(is_label, at_label[:, None], 0.0)
    # Not by a factor of 0: an ignored row may hold infinities.
    kept = label != ignore_index
    slope = tl.where(kept[:, None], slope, 0.0).to(gradient.dtype.element_ty)
    tl.store(gradient + (row * CLASSES)[:, None] + column, slope, mask=present[:, None] & inside)
    loss = tl.where((label >= 0) & (label < CLASSES), loss, float("nan"))
    tl.store(losses + row, tl.where(kept, loss, 0.0), mask=present)


@triton.jit(do_not_specialize=["rows", "ignore_index"])
def _long_rows(
    logits, labels, losses, gradient, counted, stride, rows, ignore_index, alpha, share, a, gamma,
    CLASSES: tl.constexpr, ALIGNED: tl.constexpr, ACTIVE: tl.constexpr, FOCAL: tl.constexpr, ROOT: tl.constexpr,
    PASSIVE: tl.constexpr, AVERAGED: tl.constexpr, COUNTED_HERE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    label = tl.load(labels + row)
    scale = _scale(labels, counted, rows, ignore_index, AVERAGED, COUNTED_HERE)
    logits += tl.multiple_of(row * stride, ALIGNED)
    gradient += row * CLASSES
    column = tl.arange(0, BLOCK)
    # The first block sets the maximum; each later one moves the sums so far to the maximum it finds.
    z = tl.load(logits + column, mask=column < CLASSES, other=-float("inf")).to(tl.float32)
    maximum = tl.max(z, axis=0)
    e = tl.exp(z - maximum)
    normaliser = tl.sum(e, axis=0)
    squares = tl.sum(e * e, axis=0)
    sum_z = tl.sum(tl.where(column < CLASSES, z - maximum, 0.0), axis=0)
    for start in range(BLOCK, CLASSES, BLOCK):
        inside = start + column < CLASSES
        z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(maximum, tl.max(z, axis=0))
        shrink = tl.exp(maximum - higher)
        e = tl.exp(z - higher)
        normaliser = normaliser * shrink + tl.sum(e, axis=0)
        squares = squares * shrink * shrink + tl.sum(e * e, axis=0)
        sum_z += (maximum - higher) * start + tl.sum(tl.where(inside, z - higher, 0.0), axis=0)
        maximum = higher
    inverse = 1.0 / normaliser
    log_normaliser = tl.log(normaliser)
    sum_f = sum_z - log_normaliser * CLASSES
    sum_m = CLASSES * 1.0
    if ACTIVE and FOCAL:
        # A focal factor needs the normaliser, so its sums take a second sweep.
        sum_f = 0.0
        sum_m = 0.0
        for start in range(0, CLASSES, BLOCK):
            inside = start + column < CLASSES
            z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32) - maximum
            factor = _factor(tl.exp(z) * inverse, gamma, FOCAL, ROOT)
            sum_f += tl.sum(tl.where(inside, factor * (z - log_normaliser), 0.0), axis=0)
            sum_m += tl.sum(tl.where(inside, factor, 0.0), axis=0)
    valid = (label >= 0) & (label < CLASSES)
    label_z = tl.load(logits + label, mask=valid, other=0.0).to(tl.float32) - maximum
    label_p = tl.exp(label_z) * inverse
    loss, square, per_factor, total, at_label = _coefficients(
        label_p, label_z - log_normaliser, _factor(label_p, gamma, FOCAL, ROOT), sum_f, sum_m,
        squares * inverse * inverse, alpha, share, a, scale, ACTIVE, PASSIVE,
    )  # fmt: skip
    kept = label != ignore_index
    for start in range(0, CLASSES, BLOCK):
        inside = start + column < CLASSES
        z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32)
        p = tl.exp(z - maximum) * inverse
        slope = _factor(p, gamma, FOCAL, ROOT) * per_factor + p * (square * p - total)
        slope += tl.where(start + column == label, at_label, 0.0)
        slope = tl.where(kept, slope, 0.0).to(gradient.dtype.element_ty)
        tl.store(gradient + start + column, slope, mask=inside)
    tl.store(losses + row, tl.where(kept, tl.where(valid, loss, float("nan")), 0.0))


@triton.jit
def _factor(p, gamma, FOCAL: tl.constexpr, ROOT: tl.constexpr):
    """The factor m of a class: (1 - p)^gamma, or 1."""
    factor = p * 0.0 + 1.0
    if FOCAL:
        rest = tl.maximum(1.0 - p, 0.0)
        factor = tl.sqrt(rest) if ROOT else tl.where(rest > 0.0, tl.exp(gamma * tl.log(rest)), 0.0)
    return factor


@triton.jit
def _coefficients(
    label_p, label_log_p, label_m, sum_f, sum_m, squares, alpha, share, a, scale,
    ACTIVE: tl.constexpr, PASSIVE: tl.constexpr,
):  # fmt: skip
    """A row's loss, and the (s, c, t, b) of its gradient c m + p (s p - t) + [k = y] b."""
    loss = label_p * 0.0
    per_factor = label_p * 0.0
    total = label_p * 0.0
    at_label = label_p * 0.0
    square = scale * share * 2.0
    if ACTIVE:
        weight = scale * alpha / sum_f
        ratio = label_m * label_log_p / sum_f
        loss += scale * alpha * ratio
        per_factor -= weight * ratio
        at_label += weight * label_m
        total += weight * (label_m - ratio * sum_m)
    if PASSIVE:
        loss += scale * share * (squares - 2.0 * a * label_p + a * a)
        at_label -= square * a * label_p
        total += square * (squares - a * label_p)
    return loss, square, per_factor, total, at_label


@triton.jit
def _scale(labels, counted, rows, ignore_index, AVERAGED: tl.constexpr, COUNTED_HERE: tl.constexpr):
    """1 over the number of rows that count where they are averaged, else 1; counts small batches on the way."""
    if COUNTED_HERE > 0:
        index = tl.arange(0, COUNTED_HERE)
        every_label = tl.load(labels + index, mask=index < rows, other=0)
        counts = tl.sum(((index < rows) & (every_label != ignore_index)).to(tl.float32), axis=0)
        # Every program stores the same number.
        tl.store(counted, counts)
    else:
        counts = tl.load(counted)
    scale = 1.0
    if AVERAGED:
        scale = 1.0 / tl.maximum(counts, 1.0)
    return scale


@triton.jit
def _rescale(gradient, factor, count, BLOCK: tl.constexpr):
    by = tl.load(factor)
    if by != 1.0:
        index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        values = tl.load(gradient + index, mask=index < count, other=0.0).to(tl.float32)
        tl.store(gradient + index, (values * by).to(gradient.dtype.element_ty), mask=index < count)
