"""Is a loss asymmetric on given weights or under a noise, and which a makes it so."""

from __future__ import annotations

from typing import Any

import numpy as np

from jal_hf.losses import RobustLoss, create_loss
from jal_hf.losses.conditions import Verdict, leading
from jal_hf.theory.minimum import minimizer
from jal_hf.theory.simplex import built
from jal_hf.theory.weights import weighted_rows

NEARED = "one part is asymmetric, the other's least is neared there too, as the lightest label's log p goes to -inf"


def is_asymmetric(loss: RobustLoss | str, weights_or_noise: Any, num_classes: int | None = None) -> bool:
    """Whether the weighted loss is least at the vertex of the dominant label, for every row given.

    Of a sum with a normalised loss it may say so of an infimum that is only neared there, as the lightest label's
    log p goes to minus infinity; `minimizer`, which knows no p below the smallest double, then returns another point.

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
    loss = built(loss)
    return all(row_verdict(loss, row, index).asymmetric for row, index in rows)


def row_verdict(loss: RobustLoss | str, weights: list[float], dominant: int) -> Verdict:
    """The verdict on one row of weights, by a theorem where there is one, else by numeric minimisation.

    Args:
        loss: a loss or its name.
        weights: one of each class.
        dominant: the class that shall be chosen.
    """
    loss = built(loss)
    lead = leading(weights, dominant)
    if lead.top <= lead.next:
        return Verdict(False, None, "no label dominates")
    verdict = loss.verdict(lead)
    if verdict is None:
        verdict = _verdict_by_parts(loss, weights, dominant)
    if verdict is not None:
        return verdict
    point = minimizer(loss, weights)
    return Verdict(
        bool(np.argmax(point) == dominant and point[dominant] > 1.0 - 1e-6), None, "numeric minimum"
    )


def _verdict_by_parts(loss: RobustLoss, weights: list[float], dominant: int) -> Verdict | None:
    """The verdict on a sum, by theorem 5 of Zhou et al. (2021); None where it does not tell."""
    parts = [part for part, weight in zip(loss.parts, loss.part_weights, strict=True) if weight > 0.0]
    verdicts = [row_verdict(part, weights, dominant) for part in parts]
    asymmetric = [verdict for verdict in verdicts if verdict.asymmetric]
    margin = min((verdict.margin for verdict in asymmetric if verdict.margin is not None), default=None)
    if asymmetric and len(asymmetric) == len(parts):
        return Verdict(True, margin, "its parts are asymmetric (theorem 5)")
    if asymmetric and all(
        verdict.asymmetric or part.approaches_vertex for part, verdict in zip(parts, verdicts, strict=True)
    ):
        return Verdict(True, margin, NEARED)
    return None


def minimum_a(
    noise: Any,
    num_classes: int | None = None,
    *,
    loss: RobustLoss | str = "amse",
    exponent: float | None = None,
) -> float:
    """The smallest a for which AMSE (or AGCE, AUL, AEL) is asymmetric; inf when some class's label is not dominant.

    Args:
        noise: as in `is_asymmetric`; weights of one label distribution count as one row.
        loss: a loss with such an a, or a sum that has one as a part, or its name; its own a does not matter.
        exponent: q (amse, agce) or p (aul) of a loss given by name; its default when None.

    Raises:
        ValueError: a loss without such an a.

    Example:
        >>> round(minimum_a(0.8, num_classes=10), 6)
        9.0
        >>> round(minimum_a(0.8, num_classes=100), 2)
        5.21
    """
    if isinstance(loss, str):
        params: dict[str, Any] = {} if exponent is None else {"p" if loss == "aul" else "q": exponent}
        loss = create_loss(loss, **params)
    part = loss.with_a()
    if part is None:
        raise ValueError(f"{loss.name} has no parameter a with a smallest safe value.")
    return max(part.smallest_safe_a(row, index) for row, index in weighted_rows(noise, num_classes))
