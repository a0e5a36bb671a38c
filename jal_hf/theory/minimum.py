"""The numeric minimiser of the weighted loss over the simplex, the judge of every closed form here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from jal_hf.losses import RobustLoss
from jal_hf.theory.simplex import losses_at, project
from jal_hf.theory.weights import Weights, label_weights

STEPS = 200
TOLERANCE = 1e-12


def minimizer(loss: RobustLoss, weights: Any) -> Weights:
    """argmin over u in the simplex of sum_k w_k L(u, k), as (K,) float64.

    All vertices are compared, and projected gradient descent runs from several interior points; a vertex
    wins a tie. For a loss that is discontinuous at the vertices (the normalised ones) the infimum may not be
    attained, and what is returned is a point near it.

    Raises:
        ValueError: weights that are no vector of finite numbers of at least 0.
    """
    vector = torch.from_numpy(label_weights(weights))
    vector = vector / vector.sum()
    num_classes = vector.shape[0]
    corners = torch.eye(num_classes, dtype=torch.float64)
    at_corners = losses_at(loss, corners) @ vector
    # Of tied corners the heaviest label's counts.
    order = torch.argsort(vector, descending=True, stable=True)
    corner = order[at_corners[order].argmin()]
    top, second = corners[order[0]], corners[order[1]]
    uniform = torch.full_like(vector, 1.0 / num_classes)
    starts = torch.stack(
        [
            *(vector, uniform, 0.9 * top + 0.1 * vector, 0.99 * corners[corner] + 0.01 * uniform),
            # Some losses are steepest in what leaves a vertex, and least close to it.
            *((1.0 - share) * top + share * second for share in (1e-2, 1e-4, 1e-6)),
        ]
    )
    points, values = _descend(loss, vector, starts)
    best = values.argmin()
    scale = at_corners[corner].abs().clamp_min(1e-12)
    chosen = points[best] if values[best] < at_corners[corner] - TOLERANCE * scale else corners[corner]
    result: Weights = chosen.numpy()
    return result


def _descend(loss: RobustLoss, weights: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Projected gradient descent with Barzilai-Borwein steps, each row on its own; never uphill."""
    values, slopes = _value_and_slope(loss, weights, points)
    steps = 0.5 / slopes.abs().amax(1, keepdim=True).clamp_min(1e-12)
    still = torch.zeros(points.shape[0], dtype=torch.int64)
    for _ in range(STEPS):
        # No entry can usefully move by more than the simplex is wide.
        steps = torch.minimum(steps, 4.0 / slopes.abs().amax(1, keepdim=True).clamp_min(1e-12))
        candidates = project(points - steps * slopes)
        new_values, new_slopes = _value_and_slope(loss, weights, candidates)
        better = new_values < values
        gained = torch.where(better, values - new_values, 0.0)
        moved, turned = candidates - points, new_slopes - slopes
        curvature = (moved * turned).sum(1, keepdim=True)
        longer = (moved.square().sum(1, keepdim=True) / curvature.clamp_min(1e-300)).clamp(1e-10, 1e6)
        longer = torch.where(curvature > 0, longer, 4.0 * steps)
        keep = better.unsqueeze(1)
        points = torch.where(keep, candidates, points)
        slopes = torch.where(keep, new_slopes, slopes)
        steps = torch.where(keep, longer, 0.2 * steps)
        values = torch.where(better, new_values, values)
        still = torch.where(gained > 1e-15 * (1.0 + values.abs()), 0, still + 1)
        if bool((still >= 8).all()):
            break
    return points, values


def _value_and_slope(loss: RobustLoss, weights: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    leaf = points.detach().requires_grad_()
    with torch.enable_grad(), _NothingDetached():
        values = losses_at(loss, leaf) @ weights
        (slopes,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), torch.nan_to_num(slopes, nan=0.0, posinf=1e6, neginf=-1e6)


class _NothingDetached(TorchFunctionMode):
    """Inside, factors that a loss detaches for training get their gradient: its value is what is minimised."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is Tensor.detach else func(*args, **(kwargs or {}))
