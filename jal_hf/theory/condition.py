"""Is a loss asymmetric on given weights or under a noise, and which a makes it so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jal_hf.losses import JointLoss, Normalized, RobustLoss, create_loss, loss_info
from jal_hf.losses.automatic import row_minimum_a
from jal_hf.losses.conditions import amse_is_asymmetric, dominant_margin
from jal_hf.theory.minimum import minimizer
from jal_hf.theory.ratio import closed_ratio
from jal_hf.theory.weights import weighted_rows


@dataclass(frozen=True)
class Verdict:
    """Whether a loss is asymmetric on one row of label weights.

    `margin` is the left side of the condition over its right side (asymmetric from 1 on); None where the answer
    is numeric or needs no condition. `by` says which theorem or method gave the answer.
    """

    asymmetric: bool
    margin: float | None
    by: str


def is_asymmetric(loss: RobustLoss | str, weights_or_noise: Any, num_classes: int | None = None) -> bool:
    """Whether the weighted loss is least at the vertex of the dominant label, for every row given.

    Args:
        loss: a loss or its name.
        weights_or_noise: K weights, a (K, K) transition matrix, an object with `transition_matrix()`, or the
            rate of symmetric noise together with `num_classes`.

    Raises:
        ValueError, TypeError: weights or a noise that are none.

    Example:
        >>> is_asymmetric(create_loss("amse", a=8.9), 0.8, num_classes=10)
        False
        >>> is_asymmetric(create_loss("amse", a=9.1), 0.8, num_classes=10)
        True
    """
    rows = weighted_rows(weights_or_noise, num_classes)
    built = create_loss(loss) if isinstance(loss, str) else loss
    return all(row_verdict(built, row, index).asymmetric for row, index in rows)


def row_verdict(loss: RobustLoss, weights: list[float], dominant: int) -> Verdict:
    """The verdict on one row of weights, by a theorem where there is one, else by numeric minimisation."""
    w_m, w_n, others = dominant_margin(weights, dominant)
    if w_m <= w_n:
        return Verdict(False, None, "no label dominates")
    if loss.label in ("amse", "mse"):
        a, q = (1.0, 2.0) if loss.label == "mse" else (loss.parameters_given()[key] for key in ("a", "q"))
        if q <= 1.0:
            return Verdict(True, None, "AMSE theorem, q <= 1")
        need = w_n * a ** (q - 1.0) + others
        margin = w_m * (a - 1.0) ** (q - 1.0) / need if need else math.inf
        return Verdict(amse_is_asymmetric(weights, a, q, dominant), margin, "AMSE theorem")
    ratio = closed_ratio(loss)
    if ratio is not None:
        margin = math.inf if w_n == 0.0 else w_m / w_n * ratio
        # Rounding must not turn the weights of a complete asymmetry away.
        return Verdict(margin >= 1.0 - 1e-12, margin, "asymmetry ratio")
    if isinstance(loss, JointLoss):
        parts = [row_verdict(part, weights, dominant) for part in (loss.active, loss.passive)]
        if all(part.asymmetric for part in parts):
            margins = [part.margin for part in parts if part.margin is not None]
            return Verdict(True, min(margins, default=None), "both parts are asymmetric (theorem 5)")
    elif isinstance(loss, Normalized) or (loss.name and loss_info(loss.name).symmetric):
        return Verdict(True, None, "symmetric losses are asymmetric (theorem 3)")
    point = minimizer(loss, weights)
    return Verdict(
        bool(np.argmax(point) == dominant and point[dominant] > 1.0 - 1e-6), None, "numeric minimum"
    )


def minimum_a(
    noise: Any, num_classes: int | None = None, *, loss: str = "amse", exponent: float | None = None
) -> float:
    """The smallest a for which AMSE (or AGCE, AUL, AEL) is asymmetric; inf when some class's label is not dominant.

    Args:
        noise: as in `is_asymmetric`; weights of one label distribution count as one row.
        loss: `amse`, `agce`, `aul` or `ael`.
        exponent: q (amse, agce) or p (aul); the loss's default when None.

    Raises:
        ValueError: a loss without such an a.

    Example:
        >>> round(minimum_a(0.8, num_classes=10), 6)
        9.0
        >>> round(minimum_a(0.8, num_classes=100), 2)
        5.21
    """
    if loss not in ("amse", "agce", "aul", "ael"):
        raise ValueError(f"only amse, agce, aul and ael have a smallest safe a, but {loss!r} was given.")
    if exponent is None:
        parameters = create_loss(loss).parameters_given()
        exponent = float(parameters.get("q", parameters.get("p", 0.0)))
    rows = weighted_rows(noise, num_classes)
    return max(row_minimum_a(loss, row, exponent, dominant=index) for row, index in rows)
