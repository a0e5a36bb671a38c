"""`preset="auto"`: the smallest a the theorem calls safe, with a margin, and the reason in words."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from jal_hf.losses.conditions import amse_minimum_a, dominant_margin, ratio_minimum_a, transition_rows
from jal_hf.losses.registry import LossInfo, loss_info

MARGIN = 1.5
ASSUMED_RATE = 0.8
WITH_THEOREM = ("amse", "agce", "aul", "ael")


def choose_a(
    info: LossInfo, settings: Mapping[str, Any], num_classes: int | None, noise: Any
) -> tuple[float | None, str]:
    """(the a to use or None where the loss has none, the reason).

    Args:
        settings: the loss's other parameters; an `a` among them is only replaced by the caller's own.
        num_classes: K; needed unless the noise tells it.
        noise: None, a symmetric rate, a (K, K) matrix or an object with `transition_matrix()`.

    Raises:
        ValueError: neither K nor a noise that tells it; or no a is safe under the noise.
    """
    part = next((name for name in (info.parts or (info.name,)) if name in WITH_THEOREM), None)
    if part is None:
        return None, f"{info.name} has no parameter a to choose: its default parameters are used"
    rows, described = _noise_rows(num_classes, noise)
    exponent = float(settings.get("p" if part == "aul" else "q", _default_exponent(part)))
    bounds = [row_minimum_a(part, row, exponent, dominant=k) for k, row in enumerate(rows)]
    hardest = max(range(len(rows)), key=lambda k: bounds[k])
    if math.isinf(bounds[hardest]):
        raise ValueError(
            f"no value of a makes {info.name} safe: under {described} the labels given to class {hardest} are "
            "not most often that class, so clean labels do not dominate."
        )
    least = bounds[hardest]
    chosen = max(MARGIN * least, 2.0 if part in ("amse", "aul") else 0.5)
    chosen = float(f"{chosen:.4g}")
    return chosen, (
        f"a = {chosen:g}: the smallest safe a for {part} is {least:.4g} under {described} "
        f"(hardest class {hardest}, {len(rows)} classes), taken with a margin of {MARGIN:g}"
    )


def row_minimum_a(loss: str, weights: list[float], exponent: float, dominant: int | None = None) -> float:
    """The smallest safe a of amse, agce, aul or ael on one row of label weights."""
    if loss == "amse":
        return amse_minimum_a(weights, exponent, dominant)
    w_m, w_n, _ = dominant_margin(weights, dominant)
    return ratio_minimum_a(loss, exponent, w_m, w_n)


def _default_exponent(part: str) -> float:
    cls = loss_info(part).cls
    parameter = inspect.signature(cls.__init__).parameters.get("p" if part == "aul" else "q") if cls else None
    return float(parameter.default) if parameter is not None else 0.0


def _noise_rows(num_classes: int | None, noise: Any) -> tuple[list[list[float]], str]:
    if noise is not None:
        classes = num_classes if num_classes is not None else getattr(noise, "num_classes", None)
        if isinstance(noise, (int, float)):
            return transition_rows(noise, classes), f"symmetric noise of rate {noise:g}"
        return transition_rows(noise, classes), f"the noise {getattr(noise, 'spec', 'matrix given')}"
    if num_classes is None:
        raise ValueError('preset="auto" needs num_classes=K, and noise= where the noise is known.')
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but {num_classes} was given.")
    # 0.8 is the heaviest symmetric noise of the papers; few classes do not bear it.
    rate = min(ASSUMED_RATE, 0.9 * (num_classes - 1) / num_classes)
    return transition_rows(rate, num_classes), f"symmetric noise of rate {rate:g} (assumed, none was given)"
