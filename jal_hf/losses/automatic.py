"""`preset="auto"`: the smallest a the theorem calls safe, with a margin, and the reason in words."""

from __future__ import annotations

import math
from typing import Any

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.conditions import symmetric_rows, transition_rows
from jal_hf.losses.parameters import is_number

MARGIN = 1.5
ASSUMED_RATE = 0.8


def choose_a(loss: RobustLoss, num_classes: int | None, noise: Any) -> tuple[float | None, str]:
    """(the a to use or None where the loss has none to choose, the reason).

    Args:
        loss: the loss with its other parameters.
        num_classes: K; needed unless the noise tells it.
        noise: None, a symmetric rate, a (K, K) matrix or an object with `transition_matrix()`.

    Raises:
        ValueError: neither K nor a noise that tells it; or no a is safe under the noise.
    """
    part = loss.with_a()
    if part is None:
        return None, f"{loss.name} has no parameter a to choose: its default parameters are used"
    rows, described = _noise_rows(num_classes, noise)
    bounds = [part.smallest_safe_a(row, k) for k, row in enumerate(rows)]
    hardest = max(range(len(rows)), key=lambda k: bounds[k])
    if math.isinf(bounds[hardest]):
        raise ValueError(
            f"no value of a makes {loss.name} safe: under {described} the labels given to class {hardest} are "
            "not most often that class, so clean labels do not dominate."
        )
    chosen = float(f"{max(MARGIN * bounds[hardest], part.least_chosen_a):.4g}")
    return chosen, (
        f"a = {chosen:g}: the smallest safe a for {part.name} is {bounds[hardest]:.4g} under {described} "
        f"(hardest class {hardest}, {len(rows)} classes), taken with a margin of {MARGIN:g}"
    )


def _noise_rows(num_classes: int | None, noise: Any) -> tuple[list[list[float]], str]:
    classes = num_classes if num_classes is not None else getattr(noise, "num_classes", None)
    if noise is None or (hasattr(noise, "transition_matrix") and noise.transition_matrix() is None):
        if classes is None:
            raise ValueError(
                "the preset 'auto' needs num_classes=K, the number of classes, and noise= where it is known."
            )
        if classes < 2:
            raise ValueError(f"num_classes must be at least 2, but {classes} was given.")
        # 0.8 is the heaviest symmetric noise of the papers; few classes do not bear it.
        bearable = 0.9 * (classes - 1) / classes
        if noise is None:
            rate = min(ASSUMED_RATE, bearable)
            return symmetric_rows(
                rate, classes
            ), f"symmetric noise of rate {rate:g} (assumed, none was given)"
        rate = min(float(noise.rate), bearable)
        return symmetric_rows(rate, classes), (
            f"the noise {noise.spec}, whose matrix is unknown, taken as symmetric of rate {rate:g}"
        )
    if is_number(noise):
        return transition_rows(noise, classes), f"symmetric noise of rate {noise:g}"
    return transition_rows(noise, classes), f"the noise {getattr(noise, 'spec', 'matrix given')}"
