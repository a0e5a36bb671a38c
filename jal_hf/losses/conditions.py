"""When an asymmetric loss tolerates a noise: the theorems' conditions, and the smallest parameter a they allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


def dominant_margin(weights: Sequence[float], dominant: int | None = None) -> tuple[float, float, float]:
    """(w_m, w_n, sum over i != m of w_i) of weights over K labels.

    Args:
        dominant: the index m that should carry the unique maximum; the largest weight's when None.
    """
    index = max(range(len(weights)), key=lambda k: weights[k]) if dominant is None else dominant
    others = [weight for k, weight in enumerate(weights) if k != index]
    return weights[index], max(others), sum(others)


def amse_is_asymmetric(weights: Sequence[float], a: float, q: float, dominant: int | None = None) -> bool:
    """Whether AMSE with (a, q) is asymmetric on these weights (JAL, theorem on noise tolerance).

    The condition w_m (a - 1)^(q-1) >= w_n a^(q-1) + sum_{i != m} w_i is the theorem's, multiplied by
    w_n (a - 1)^(q-1), so that it also holds its meaning at w_n = 0 and a = 1.
    """
    w_m, w_n, others = dominant_margin(weights, dominant)
    if w_m <= w_n:
        return False
    if q <= 1.0:
        return True
    return bool(w_m * (a - 1.0) ** (q - 1.0) >= w_n * a ** (q - 1.0) + others)


def amse_minimum_a(weights: Sequence[float], q: float = 2.0, dominant: int | None = None) -> float:
    """The smallest a for which AMSE is asymmetric on the weights: W / (w_m - w_n) for q = 2; inf if none is."""
    w_m, w_n, others = dominant_margin(weights, dominant)
    if w_m <= w_n:
        return math.inf
    if q <= 1.0 or others == 0.0:
        return 1.0
    if q == 2.0:
        return (w_m + others) / (w_m - w_n)
    low, high = 1.0, 2.0
    while not amse_is_asymmetric(weights, high, q, dominant):
        low, high = high, 2.0 * high
        if high > 1e15:
            return math.inf
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if amse_is_asymmetric(weights, middle, q, dominant):
            high = middle
        else:
            low = middle
    return high


def ratio_minimum_a(loss: str, exponent: float, w_m: float, w_n: float) -> float:
    """The smallest a for which (w_m / w_n) r(loss) >= 1 (ALFs, corollaries 1 to 3).

    Args:
        loss: `agce` (exponent q), `aul` (exponent p) or `ael` (exponent unused).

    Returns:
        The bound on a: 0 (agce, ael) or 1 (aul) where every a in the loss's range is safe, inf where none is.
    """
    free = 1.0 if loss == "aul" else 0.0
    if w_m <= w_n:
        return math.inf
    if w_n == 0.0:
        return free
    if loss == "ael":
        return 1.0 / math.log(w_m / w_n)
    power = 1.0 - exponent if loss == "agce" else exponent - 1.0
    if power <= 0.0:
        return free
    share = (w_n / w_m) ** (1.0 / power)
    return float(share / (1.0 - share) if loss == "agce" else 1.0 / (1.0 - share))


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
    if isinstance(noise, (int, float)) and not isinstance(noise, bool):
        if num_classes is None:
            raise ValueError("a noise rate alone needs num_classes=K as well.")
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
