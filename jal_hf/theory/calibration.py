"""Classification calibration of a loss on two classes (Bartlett et al., 2006), and its excess-risk bound."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from jal_hf.losses import RobustLoss
from jal_hf.theory.simplex import built, losses_at

Curve = npt.NDArray[np.float64]


def calibration_curves(
    loss: RobustLoss | str, etas: Sequence[float] | Curve, grid: int = 2001
) -> tuple[Curve, Curve]:
    """(H, H-) at each eta, the probability of the first of two classes.

    H is the least conditional risk eta L(u, 1) + (1 - eta) L(u, 2); H- the least among predictions that choose
    the less likely class, or none. A loss is classification-calibrated when H- > H for all eta but 1/2.

    Args:
        loss: a loss or its name.
        etas: numbers in [0, 1].
        grid: how many predictions u_1 in [0, 1] are compared, both ends and 1/2 among them when odd.
    """
    loss = built(loss)
    first = torch.linspace(0.0, 1.0, grid, dtype=torch.float64)
    table = losses_at(loss, torch.stack([first, 1.0 - first], dim=1))
    eta = torch.as_tensor(np.asarray(etas, dtype=np.float64)).unsqueeze(1)
    risks = eta * table[:, 0] + (1.0 - eta) * table[:, 1]
    wrong = (2.0 * first - 1.0) * (2.0 * eta - 1.0) <= 1e-15
    best = risks.min(1).values
    best_wrong = torch.where(wrong, risks, torch.inf).min(1).values
    return best.numpy(), best_wrong.numpy()


def excess_risk_bound(loss: RobustLoss | str, excess_risk: float) -> float:
    """The most that the 0-1 risk can exceed its least, given by how much the loss's risk exceeds its own.

    2 (R - R*) / (l(0) - l(1)), for a strictly, completely asymmetric loss l(u_y) (Zhou et al., 2021, theorem 2).

    Args:
        loss: a loss or its name.
        excess_risk: R - R*, at least 0.

    Raises:
        ValueError: a negative excess, or a loss for which l(0) - l(1) is not a positive finite number.
    """
    loss = built(loss)
    if excess_risk < 0:
        raise ValueError(f"an excess risk is at least 0, but {excess_risk!r} was given.")
    ends = losses_at(loss, torch.eye(2, dtype=torch.float64))
    height = math.inf if _is_unbounded(loss) else float(ends[1, 0] - ends[0, 0])
    if not 0.0 < height < math.inf:
        raise ValueError(
            f"{loss.name} has no bound: l(0) - l(1) = {height:g} is not a positive finite number."
        )
    return 2.0 * excess_risk / height


def _is_unbounded(loss: RobustLoss) -> bool:
    """Whether l(u_y) grows, as log does, more over the last half of the exponents than over the quarter before."""
    smallest = torch.finfo(torch.float64).tiny ** torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    early, late = losses_at(loss, torch.stack([smallest, 1.0 - smallest], dim=1))[:, 0].diff().tolist()
    return bool(late > max(early, 0.0))
