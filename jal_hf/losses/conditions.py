"""What the theorems on asymmetric losses speak of: a row of label weights, and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from jal_hf.losses.parameters import is_number

JUST_ENOUGH = 1.0 - 1e-12
"""A margin of 1 less what rounding may take: weights at which a condition just holds must not be turned away."""


class Lead(NamedTuple):
    """A row of label weights as the conditions read it: the label that should dominate, and its rivals.

    `top` is that label's weight w_m, `next` the largest other one w_n, `others` the sum of all others, `least` the
    smallest of them.
    """

    top: float
    next: float
    others: float
    least: float


@dataclass(frozen=True)
class Verdict:
    """Whether a loss is asymmetric on one row of label weights.

    `margin` is the left side of the condition over its right side (asymmetric from 1 on); None where the answer
    is numeric or needs no condition. `by` says which theorem or method gave the answer.
    """

    asymmetric: bool
    margin: float | None
    by: str


WEIGH_ALIKE = Verdict(True, None, "symmetric, other labels weigh alike")
WEIGH_DIFFERENTLY = Verdict(False, None, "symmetric, other labels weigh differently")


def leading(weights: Sequence[float], dominant: int | None = None) -> Lead:
    """The lead of the label `dominant`, of the heaviest one when None, in weights over K labels."""
    index = max(range(len(weights)), key=lambda k: weights[k]) if dominant is None else dominant
    others = [weight for k, weight in enumerate(weights) if k != index]
    return Lead(weights[index], max(others), sum(others), min(others))


def ratio_verdict(lead: Lead, ratio: float) -> Verdict:
    """The verdict on a loss of the label's probability alone: asymmetric where (w_m / w_n) r >= 1."""
    margin = math.inf if lead.next == 0.0 else lead.top / lead.next * ratio
    return Verdict(margin >= JUST_ENOUGH, margin, "asymmetry ratio")


def amse_verdict(lead: Lead, a: float, q: float) -> Verdict:
    """The verdict on AMSE with (a, q) (JAL, theorem on noise tolerance).

    The condition w_m ((a - 1) / a)^(q-1) >= w_n + a^(1-q) sum_{i != m} w_i is the theorem's, multiplied by
    w_n ((a - 1) / a)^(q-1), so that it keeps its meaning at w_n = 0 and a = 1, and does not overflow.
    """
    if q <= 1.0:
        return Verdict(True, None, "AMSE theorem, q <= 1")
    have, need = lead.top * ((a - 1.0) / a) ** (q - 1.0), lead.next + lead.others * a ** (1.0 - q)
    margin = have / need if need else math.inf
    return Verdict(margin >= JUST_ENOUGH, margin, "AMSE theorem")


def amse_smallest_a(lead: Lead, q: float) -> float:
    """The smallest a for which AMSE is asymmetric: W / (w_m - w_n) for q = 2, else by bisection."""
    if q <= 1.0 or lead.others == 0.0:
        return 1.0
    if q == 2.0:
        return (lead.top + lead.others) / (lead.top - lead.next)
    low, high = 1.0, 2.0
    while not amse_verdict(lead, high, q).asymmetric:
        low, high = high, 2.0 * high
        if high > 1e15:
            return math.inf
    while (middle := 0.5 * (low + high)) not in (low, high):
        if amse_verdict(lead, middle, q).asymmetric:
            high = middle
        else:
            low = middle
    return high


def symmetric_rows(rate: float, num_classes: int) -> list[list[float]]:
    """The transition matrix of symmetric noise: 1 - rate on the diagonal, rate / (K - 1) beside it."""
    side = rate / (num_classes - 1)
    return [[1.0 - rate if i == j else side for j in range(num_classes)] for i in range(num_classes)]


def transition_rows(noise: Any, num_classes: int | None = None) -> list[list[float]]:
    """The noise as rows of a transition matrix, row i holding the weights of the labels given to class i.

    Args:
        noise: a rate of symmetric noise, a (K, K) matrix, or an object with `transition_matrix()`.
        num_classes: needed with a rate.

    Raises:
        TypeError: anything else.
        ValueError: a rate without K, a rate outside [0, 1), or a matrix that is none.
    """
    if is_number(noise):
        if num_classes is None:
            raise ValueError("a noise rate alone needs num_classes=K as well.")
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, but {num_classes!r} was given.")
        if not 0.0 <= noise < 1.0:
            raise ValueError(f"a noise rate must lie in [0, 1), but {noise!r} was given.")
        return symmetric_rows(float(noise), num_classes)
    matrix = noise
    if hasattr(noise, "transition_matrix"):
        matrix = noise.transition_matrix()
        if matrix is None:
            raise ValueError(
                f"the noise {getattr(noise, 'spec', noise)} has no transition matrix, because it depends on "
                "the images; give the realised (K, K) matrix instead."
            )
    if isinstance(matrix, str):
        raise TypeError(
            f"a noise spec such as {matrix!r} must be built first: create_noise({matrix!r}, num_classes=K)."
        )
    rows = torch.as_tensor(matrix, dtype=torch.float64)
    if rows.dim() != 2 or rows.shape[0] != rows.shape[1] or rows.shape[0] < 2:
        raise ValueError(f"a transition matrix must have shape (K, K), but {tuple(rows.shape)} was given.")
    if bool((rows < 0).any()) or not bool(torch.isfinite(rows).all()):
        raise ValueError("a transition matrix must hold finite numbers of at least 0.")
    if num_classes is not None and rows.shape[0] != num_classes:
        raise ValueError(f"the noise has {rows.shape[0]} classes, but num_classes={num_classes} was given.")
    result: list[list[float]] = rows.tolist()
    return result
