"""Triton kernels of every loss that gives its terms: a row's loss and gradient from one reading of its logits.

Sums and products are float32 whatever the logits are. Imported only where a kernel is wanted, as `triton` need not be
installed; `TRITON_INTERPRET=1` runs it on the CPU.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# What a kernel takes and returns are Triton's own values, for which it has no public types; constants of its
# compilation are written in capitals, as is usual in Triton.
# ruff: noqa: N803, N806

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from jal_hf.losses.kernel_terms import KernelTerm, KernelTerms
from jal_hf.losses.triton_terms import (
    FOCAL_EXPONENT,
    PULLED,
    SUMMED,
    SUMMED_AT_ONCE,
    class_slope,
    class_value,
    row_term,
)

# Rows up to the first length stay in registers; longer ones are read again, from the cache, in blocks of the second.
NO_TERM = KernelTerm("none", weight=0.0)
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


def evaluate_rows(
    logits: Tensor,
    labels: Tensor,
    terms: KernelTerms,
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
    first, second = terms if len(terms) == 2 else (terms[0], NO_TERM)
    kinds = (first.kind, second.kind)
    exponents = [getattr(term, FOCAL_EXPONENT[term.kind]) for term in terms if term.kind in FOCAL_EXPONENT]
    arguments = (logits, labels, losses, gradient, counted, logits.stride(0), rows, ignore_index)
    numbers = [number for term in (first, second) for number in (term.weight, term.x, term.y, term.z)]
    options = {
        "CLASSES": classes,
        # Rows that begin at multiples of 8 numbers are read 8 at a time, which Triton cannot know by itself.
        "ALIGNED": math.gcd(logits.stride(0), 16),
        "FIRST": first.kind,
        "SECOND": second.kind,
        "SUM_FIRST": first.kind in SUMMED,
        "SUM_SECOND": second.kind in SUMMED,
        "TOP": bool(set(kinds) & set(PULLED)),
        "ROOT": set(exponents) == {0.5},
        "AVERAGED": averaged,
        "COUNTED_HERE": LABELS_COUNTED_IN_PLACE if count_in_place else 0,
        # Said, because the default changes between releases of Triton.
        "enable_fp_fusion": True,
    }
    block = triton.next_power_of_2(classes)
    if block > ROW_IN_REGISTERS:
        options["SWEEP"] = any(kind in SUMMED and kind not in SUMMED_AT_ONCE for kind in kinds)
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
    logits, labels, losses, gradient, counted, stride, rows, ignore_index, w1, x1, y1, z1, w2, x2, y2, z2,
    CLASSES: tl.constexpr, ALIGNED: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
    SUM_FIRST: tl.constexpr, SUM_SECOND: tl.constexpr, TOP: tl.constexpr, ROOT: tl.constexpr,
    AVERAGED: tl.constexpr, COUNTED_HERE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
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
    is_top = label < 0
    if TOP:
        is_top = tl.min(tl.where(z >= 0.0, column, CLASSES), axis=1) == label
    scale = _scale(labels, counted, rows, ignore_index, AVERAGED, COUNTED_HERE)
    V = label_p * 0.0
    S = label_p * 0.0
    if SUM_FIRST:
        V = tl.sum(tl.where(inside, class_value(p, log_p, x1, y1, FIRST, ROOT), 0.0), axis=1)
        S = tl.sum(tl.where(inside, class_slope(p, log_p, x1, y1, FIRST, ROOT), 0.0), axis=1)
    loss, of_first, total, at_label = row_term(
        V, S, label_p, label_log_p, is_top, scale * w1, x1, y1, z1, FIRST, ROOT, CLASSES
    )
    # A square joins what the softmax takes away, p (square p - total), as the two nearly cancel where p is near 1.
    square = label_p * 0.0
    slope = p * 0.0
    if FIRST == "square":
        square += of_first
    elif SUM_FIRST:
        slope += class_slope(p, log_p, x1, y1, FIRST, ROOT) * of_first[:, None]
    if SECOND != "none":
        V = label_p * 0.0
        S = label_p * 0.0
        if SUM_SECOND:
            V = tl.sum(tl.where(inside, class_value(p, log_p, x2, y2, SECOND, ROOT), 0.0), axis=1)
            S = tl.sum(tl.where(inside, class_slope(p, log_p, x2, y2, SECOND, ROOT), 0.0), axis=1)
        more, of_second, rest, at_too = row_term(
            V, S, label_p, label_log_p, is_top, scale * w2, x2, y2, z2, SECOND, ROOT, CLASSES
        )
        loss += more
        total += rest
        at_label += at_too
        if SECOND == "square":
            square += of_second
        elif SUM_SECOND:
            slope += class_slope(p, log_p, x2, y2, SECOND, ROOT) * of_second[:, None]
    slope += p * (square[:, None] * p - total[:, None]) + tl.where(is_label, at_label[:, None], 0.0)
    # Not by a factor of 0: an ignored row may hold infinities.
    kept = label != ignore_index
    slope = tl.where(kept[:, None], slope, 0.0).to(gradient.dtype.element_ty)
    tl.store(gradient + (row * CLASSES)[:, None] + column, slope, mask=present[:, None] & inside)
    loss = tl.where((label >= 0) & (label < CLASSES), loss, float("nan"))
    tl.store(losses + row, tl.where(kept, loss, 0.0), mask=present)


@triton.jit(do_not_specialize=["rows", "ignore_index"])
def _long_rows(
    logits, labels, losses, gradient, counted, stride, rows, ignore_index, w1, x1, y1, z1, w2, x2, y2, z2,
    CLASSES: tl.constexpr, ALIGNED: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
    SUM_FIRST: tl.constexpr, SUM_SECOND: tl.constexpr, TOP: tl.constexpr, ROOT: tl.constexpr, SWEEP: tl.constexpr,
    AVERAGED: tl.constexpr, COUNTED_HERE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    label = tl.load(labels + row)
    scale = _scale(labels, counted, rows, ignore_index, AVERAGED, COUNTED_HERE)
    logits += tl.multiple_of(row * stride, ALIGNED)
    gradient += row * CLASSES
    column = tl.arange(0, BLOCK)
    # Each block moves the sums so far to the maximum it finds; the first moves sums of nothing from far below.
    maximum = tl.full([], -3.0e38, tl.float32)
    normaliser = tl.full([], 0.0, tl.float32)
    squares = tl.full([], 0.0, tl.float32)
    sum_z = tl.full([], 0.0, tl.float32)
    top = tl.full([], 0, tl.int32)
    for start in range(0, CLASSES, BLOCK):
        inside = start + column < CLASSES
        z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32)
        block_maximum = tl.max(z, axis=0)
        if TOP:
            block_top = tl.min(tl.where(z == block_maximum, start + column, CLASSES), axis=0)
            top = tl.where(block_maximum > maximum, block_top, top)
        higher = tl.maximum(maximum, block_maximum)
        shrink = tl.exp(maximum - higher)
        e = tl.exp(z - higher)
        normaliser = normaliser * shrink + tl.sum(e, axis=0)
        squares = squares * shrink * shrink + tl.sum(e * e, axis=0)
        sum_z += (maximum - higher) * start + tl.sum(tl.where(inside, z - higher, 0.0), axis=0)
        maximum = higher
    inverse = 1.0 / normaliser
    log_normaliser = tl.log(normaliser)
    squares *= inverse * inverse
    sum_log_p = sum_z - log_normaliser * CLASSES
    V1, S1 = (sum_log_p, squares * 0.0 + CLASSES) if FIRST == "nce" else (squares, squares)
    V2, S2 = (sum_log_p, squares * 0.0 + CLASSES) if SECOND == "nce" else (squares, squares)
    if SWEEP:
        # Their sums need the normaliser, and so a second sweep.
        v1 = tl.zeros([BLOCK], tl.float32)
        s1 = tl.zeros([BLOCK], tl.float32)
        v2 = tl.zeros([BLOCK], tl.float32)
        s2 = tl.zeros([BLOCK], tl.float32)
        for start in range(0, CLASSES, BLOCK):
            inside = start + column < CLASSES
            z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32) - maximum
            p = tl.exp(z) * inverse
            log_p = z - log_normaliser
            if SUM_FIRST:
                v1 += tl.where(inside, class_value(p, log_p, x1, y1, FIRST, ROOT), 0.0)
                s1 += tl.where(inside, class_slope(p, log_p, x1, y1, FIRST, ROOT), 0.0)
            if SUM_SECOND:
                v2 += tl.where(inside, class_value(p, log_p, x2, y2, SECOND, ROOT), 0.0)
                s2 += tl.where(inside, class_slope(p, log_p, x2, y2, SECOND, ROOT), 0.0)
        V1 = tl.sum(v1, axis=0)
        S1 = tl.sum(s1, axis=0)
        V2 = tl.sum(v2, axis=0)
        S2 = tl.sum(s2, axis=0)
    valid = (label >= 0) & (label < CLASSES)
    label_z = tl.load(logits + label, mask=valid, other=0.0).to(tl.float32) - maximum
    label_p = tl.exp(label_z) * inverse
    label_log_p = label_z - log_normaliser
    loss, of_first, total, at_label = row_term(
        V1, S1, label_p, label_log_p, top == label, scale * w1, x1, y1, z1, FIRST, ROOT, CLASSES
    )
    of_second = of_first
    if SECOND != "none":
        more, of_second, rest, at_too = row_term(
            V2, S2, label_p, label_log_p, top == label, scale * w2, x2, y2, z2, SECOND, ROOT, CLASSES
        )
        loss += more
        total += rest
        at_label += at_too
    square = label_p * 0.0
    if FIRST == "square":
        square += of_first
    if SECOND == "square":
        square += of_second
    kept = label != ignore_index
    for start in range(0, CLASSES, BLOCK):
        inside = start + column < CLASSES
        z = tl.load(logits + start + column, mask=inside, other=-float("inf")).to(tl.float32) - maximum
        p = tl.exp(z) * inverse
        log_p = z - log_normaliser
        slope = p * (square * p - total) + tl.where(start + column == label, at_label, 0.0)
        if SUM_FIRST and FIRST != "square":
            slope += class_slope(p, log_p, x1, y1, FIRST, ROOT) * of_first
        if SUM_SECOND and SECOND != "square":
            slope += class_slope(p, log_p, x2, y2, SECOND, ROOT) * of_second
        slope = tl.where(kept, slope, 0.0).to(gradient.dtype.element_ty)
        tl.store(gradient + start + column, slope, mask=inside)
    tl.store(losses + row, tl.where(kept, tl.where(valid, loss, float("nan")), 0.0))


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
