"""The asymmetry ratio r of a loss (Zhou et al., 2021, definition 3) and its bound r_u (equation 8)."""

from __future__ import annotations

import torch

from jal_hf.losses import RobustLoss
from jal_hf.theory.simplex import built, losses_at

GRID = 65


def asymmetry_ratio(loss: RobustLoss | str) -> tuple[float, float]:
    """(lower, upper): Theorem 6 makes `lower` sufficient and Theorem 8 makes `upper` necessary.

    With weights w_m > w_n >= the rest, a loss l(u_y) is asymmetric if (w_m / w_n) lower >= 1 and only if
    (w_m / w_n) upper >= 1. AGCE, AUL, AEL, MAE, RCE, GCE and CE have closed forms, where both agree; any other
    loss gets numeric bounds, see `numeric_ratio`. A name stands for the loss with its default parameters.
    """
    loss = built(loss)
    closed = closed_ratio(loss)
    return numeric_ratio(loss) if closed is None else (closed, closed)


def closed_ratio(loss: RobustLoss | str) -> float | None:
    """r where corollaries 1 to 3 (and the text beside them) give it, else None.

    Args:
        loss: a loss or its name.

    Provenance:
        For AGCE with q > 1 and AUL with p < 1 the paper gives 1. Definition 3 read by the letter gives less
        (u_1 = 0, u_2 = 1 and a small step); the corollaries' condition, which experiments confirm, has 1.
    """
    return built(loss).asymmetry_ratio()


def numeric_ratio(loss: RobustLoss | str, grid: int = GRID) -> tuple[float, float]:
    """(lower, upper) by search over a grid.

    `lower` is the least ratio [L(u, 1) - L(u', 1)] / [L(u', 2) - L(u, 2)] when mass moves from class 2 to class
    1, over u with a third class holding the rest (definition 3); `upper` has all mass of the two classes moved
    at once (equation 8). A grid can only miss the infimum, so `lower` is exact up to the grid's resolution.

    Args:
        loss: a loss or its name.
        grid: values of each probability that are compared.
    """
    loss = built(loss)
    ticks = torch.linspace(0.0, 1.0, grid, dtype=torch.float64)
    first, second, moved = torch.meshgrid(
        ticks, ticks, torch.cat([ticks[1:], ticks[1:2] * 1e-3]), indexing="ij"
    )
    first, second, moved = (axis.reshape(-1) for axis in (first, second, moved))
    allowed = (first + second <= 1.0 + 1e-12) & (moved <= second + 1e-12)
    lower = _least_ratio(loss, first[allowed], second[allowed], moved[allowed])
    share = ticks[1:]
    return lower, _least_ratio(loss, 1.0 - share, share, share)


def _least_ratio(loss: RobustLoss, first: torch.Tensor, second: torch.Tensor, moved: torch.Tensor) -> float:
    rest = (1.0 - first - second).clamp_min(0.0)
    before = losses_at(loss, torch.stack([first, second, rest], dim=1))
    after = losses_at(loss, torch.stack([first + moved, (second - moved).clamp_min(0.0), rest], dim=1))
    gain, cost = before[:, 0] - after[:, 0], after[:, 1] - before[:, 1]
    ratios = (gain / cost)[torch.isfinite(gain) & torch.isfinite(cost) & (cost > 1e-14)]
    return float(ratios.min().clamp_min(0.0)) if ratios.numel() else 0.0
