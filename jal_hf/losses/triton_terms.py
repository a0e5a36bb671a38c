"""The terms of the losses inside a Triton kernel: what each class adds to a row's sums, and what the sums give.

A term's loss has the derivative [k = y] at_label + coefficient s_k by log p_k. `class_value` and `class_slope` are the
v_k and s_k that a row sums up to V and S; `row_term` makes the loss, the coefficient and at_label of the sums. The
maths is that of each loss's own `slope`; x, y and z are the numbers of its `KernelTerm`.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# What a kernel takes and returns are Triton's own values, for which it has no public types; constants of its
# compilation are written in capitals, as is usual in Triton.
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl

SUMMED = ("nce", "nfl", "ngce", "nnce", "nnfl", "square", "amse", "rce")
# The number that is a focal exponent; 0.5 is a square root.
FOCAL_EXPONENT = {"fl": "x", "nfl": "x", "nnfl": "x", "efl": "y"}
# Ask whether the label is the argmax.
PULLED = ("ece", "efl")
# Their sums come from the sweep that finds the normaliser; others need p first.
SUMMED_AT_ONCE = ("nce", "square")


@triton.jit
def power(base, exponent):
    """base^exponent for a base of at least 0; 0 to any power is 0."""
    return tl.where(base > 0.0, tl.exp(exponent * tl.log(base)), 0.0)


@triton.jit
def focal_factor(p, gamma, ROOT: tl.constexpr):
    rest = tl.maximum(1.0 - p, 0.0)
    return tl.sqrt(rest) if ROOT else power(rest, gamma)


@triton.jit
def class_value(p, log_p, x, y, KIND: tl.constexpr, ROOT: tl.constexpr):
    value = log_p
    if KIND == "nfl":
        value = focal_factor(p, x, ROOT) * log_p
    elif KIND == "ngce":
        value = 1.0 - tl.exp(x * tl.maximum(log_p, y))
    elif KIND == "nnce":
        value = tl.maximum(log_p + x, 0.0)
    elif KIND == "nnfl":
        value = tl.maximum(focal_factor(p, x, ROOT) * log_p + y, 0.0)
    elif KIND == "square":
        value = p * p
    elif KIND == "amse":
        value = tl.exp(y * log_p)
    elif KIND == "rce":
        value = tl.maximum(p, x)
    return value


@triton.jit
def class_slope(p, log_p, x, y, KIND: tl.constexpr, ROOT: tl.constexpr):
    slope = p * 0.0 + 1.0
    if KIND == "nfl":
        slope = focal_factor(p, x, ROOT)
    elif KIND == "ngce":
        slope = tl.where(log_p >= y, -x * tl.exp(x * log_p), 0.0)
    elif KIND == "nnce":
        slope = tl.where(log_p + x > 0.0, 1.0, 0.0)
    elif KIND == "nnfl":
        factor = focal_factor(p, x, ROOT)
        slope = tl.where(factor * log_p + y > 0.0, factor, 0.0)
    elif KIND == "square":
        slope = p * p
    elif KIND == "amse":
        slope = tl.exp(y * log_p)
    elif KIND == "rce":
        slope = tl.where(p > x, 0.0, -p)
    return slope


@triton.jit
def row_term(
    V, S, p, log_p, is_top, weight, x, y, z, KIND: tl.constexpr, ROOT: tl.constexpr, CLASSES: tl.constexpr
):  # fmt: skip
    """(loss, coefficient, at_label + coefficient S, at_label) of a row, times the weight; p is the label's."""
    loss = -log_p
    coefficient = p * 0.0
    at_label = p * 0.0 - 1.0
    if KIND == "nce" or KIND == "nfl" or KIND == "ngce" or KIND == "nnce" or KIND == "nnfl":
        value = class_value(p, log_p, x, y, KIND, ROOT)
        divisor = V
        if KIND == "nnce" or KIND == "nnfl":
            # Where every class has 0, the labels share alike.
            value = tl.where(V > 0.0, value, 1.0 / CLASSES)
            divisor = tl.where(V > 0.0, V, 1.0)
        loss = value / divisor
        at_label = class_slope(p, log_p, x, y, KIND, ROOT) / divisor
        coefficient = -loss / divisor
        if KIND == "nnce" or KIND == "nnfl":
            loss = 1.0 - loss
            at_label = -at_label
            coefficient = -coefficient
    elif KIND == "square":
        loss = (V - 2.0 * x * p + x * x) / CLASSES
        at_label = -2.0 * x / CLASSES * p
        coefficient += 2.0 / CLASSES
    elif KIND == "amse":
        label_power = tl.exp(y * log_p)
        gap = tl.maximum(x - p, 0.0)
        loss = (V - label_power + power(gap, y)) / CLASSES
        at_label = -y / CLASSES * (label_power + p * power(gap, y - 1.0))
        coefficient += y / CLASSES
    elif KIND == "rce":
        loss = y * (V - tl.maximum(p, x))
        at_label = -y * tl.where(p > x, p, 0.0)
        coefficient += y
    elif KIND == "fl":
        factor = focal_factor(p, x, ROOT)
        loss = -factor * log_p
        at_label = -factor
    elif KIND == "mae":
        loss = x * (1.0 - p)
        at_label = -x * p
    elif KIND == "gce":
        loss = (1.0 - tl.exp(x * tl.maximum(log_p, y))) / x
        at_label = tl.where(log_p >= y, -tl.exp(x * log_p), 0.0)
    elif KIND == "agce":
        loss = (power(x + 1.0 + p * 0.0, y) - power(x + p, y)) / y
        at_label = -power(x + p, y - 1.0) * p
    elif KIND == "aul":
        loss = (power(x - p, y) - power(x - 1.0 + p * 0.0, y)) / y
        at_label = -power(x - p, y - 1.0) * p
    elif KIND == "ael":
        loss = tl.exp(-p / x)
        at_label = -p / x * loss
    elif KIND == "ece" or KIND == "efl":
        pulled = tl.where(is_top, p + x, p) / (x + 1.0)
        factor = p * 0.0 + 1.0
        if KIND == "efl":
            factor = focal_factor(tl.maximum(pulled, z), y, ROOT)
        loss = -factor * tl.log(tl.maximum(pulled, z))
        at_label = tl.where(pulled >= z, -factor * p / ((x + 1.0) * pulled), 0.0)
    total = at_label + coefficient * S
    return weight * loss, weight * coefficient, weight * total, weight * at_label
