"""The numeric minimiser of the weighted loss over the simplex, the judge of every closed form here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from jal_hf.losses import RobustLoss
from jal_hf.theory.simplex import built, losses_at, project
from jal_hf.theory.weights import Weights, label_weights

STEPS = 200
PATIENCE = 25
TOLERANCE = 1e-12
SMALLEST = torch.finfo(torch.float64).tiny


def minimizer(loss: RobustLoss | str, weights: Any) -> Weights:
    """argmin over u in the simplex of sum_k w_k L(u, k), as (K,) float64.

    All vertices are compared, and descent runs from several points of the simplex and of its faces, by u and then by
    log u; a vertex wins a tie. For a loss that is discontinuous at the vertices (the normalised ones) the infimum may
    not be attained, and what is returned is the best point found. Where it is neared only as a log p goes to minus
    infinity, far below that of the smallest double, that point need not be near the vertex of which `is_asymmetric`
    speaks: ANL-CE at weights (0.45, 0.449, 0.101) gives (0.515, 0.485, 0).

    Args:
        loss: a loss or its name.
        weights: K numbers.

    Raises:
        ValueError: weights that are no vector of finite numbers of at least 0.
    """
    loss = built(loss)
    vector = torch.from_numpy(label_weights(weights))
    vector = vector / vector.sum()
    num_classes = vector.shape[0]
    corners = torch.eye(num_classes, dtype=torch.float64)
    at_corners = losses_at(loss, corners) @ vector
    # Of tied corners the heaviest label's counts.
    order = torch.argsort(vector, descending=True, stable=True)
    corner = order[at_corners[order].argmin()]
    margin = TOLERANCE * float(at_corners[corner].abs().clamp_min(1e-12))
    chosen, least = corners[corner], float(at_corners[corner])
    starts = points = _starts(vector, order, corner)
    # By log u second: a vertex or a face is found exactly by u, but where a clamp has no slope at 0, only log u leads
    # away from it.
    for by_log in (False, True):
        points, values = _descend(loss, vector, points, by_log, least - margin)
        best = int(values.argmin())
        if values[best] < least - margin:
            chosen, least = points[best], float(values[best])
        points = torch.cat((starts, points))
    result: Weights = chosen.numpy()
    return result


def _starts(weights: Tensor, order: Tensor, corner: Tensor) -> Tensor:
    """Where the descents begin: inside, near vertices, and where equal weights are not treated alike."""
    num_classes = weights.shape[0]
    corners = torch.eye(num_classes, dtype=torch.float64)
    top, second = corners[order[0]], corners[order[1]]
    uniform = torch.full_like(weights, 1.0 / num_classes)
    rank = torch.empty_like(weights)
    rank[order] = torch.arange(num_classes, dtype=torch.float64)
    starts = [weights, uniform, 0.9 * top + 0.1 * weights, 0.99 * corners[corner] + 0.01 * uniform]
    # Some losses are steepest in what leaves a vertex, and least close to it.
    starts += [(1.0 - share) * top + share * second for share in (1e-2, 1e-4, 1e-6)]
    # Labels of equal weight may share a minimum unevenly, or leave it to some of them.
    uneven = [weights * 0.7**rank, *(weights * (rank < most) for most in (2, 3) if most < num_classes)]
    return torch.stack([*starts, *(start / start.sum() for start in uneven)])


def _descend(
    loss: RobustLoss, weights: Tensor, points: Tensor, by_log: bool, least: float
) -> tuple[Tensor, Tensor]:
    """Descent with Barzilai-Borwein steps, each row on its own; never uphill.

    By u it is projected; by log u it goes along the natural gradient g - sum_k u_k g_k, for which cross entropy has
    the same curvature in every direction, and it ends soon where no row gets below `least`.
    """
    place = points.clamp_min(SMALLEST).log().log_softmax(1) if by_log else points
    values, slopes = _value_and_slope(loss, weights, place, by_log)
    reach = slopes * place.exp() if by_log else slopes
    steps = 0.5 / reach.abs().amax(1, keepdim=True).clamp_min(1e-12)
    still = torch.zeros(points.shape[0], dtype=torch.int64)
    for step in range(STEPS):
        if by_log:
            # An entry near 0, whose slope may be huge, holds up no other.
            candidates = (place - (steps * slopes).clamp(-4.0, 4.0)).log_softmax(1)
        else:
            # No entry can usefully move by more than the simplex is wide.
            steps = torch.minimum(steps, 4.0 / slopes.abs().amax(1, keepdim=True).clamp_min(1e-12))
            candidates = project(place - steps * slopes)
        new_values, new_slopes = _value_and_slope(loss, weights, candidates, by_log)
        better = new_values < values
        gained = torch.where(better, values - new_values, 0.0)
        moved, turned = candidates - place, new_slopes - slopes
        along = moved * candidates.exp() if by_log else moved
        curvature = (along * turned).sum(1, keepdim=True)
        longer = ((along * moved).sum(1, keepdim=True) / curvature.clamp_min(1e-300)).clamp(1e-10, 1e6)
        longer = torch.where(curvature > 0, longer, 4.0 * steps)
        keep = better.unsqueeze(1)
        place = torch.where(keep, candidates, place)
        slopes = torch.where(keep, new_slopes, slopes)
        steps = torch.where(keep, longer, 0.2 * steps)
        values = torch.where(better, new_values, values)
        still = torch.where(gained > 1e-15 * (1.0 + values.abs()), 0, still + 1)
        if bool((still >= 8).all()) or (by_log and step >= PATIENCE and not bool((values < least).any())):
            break
    return place.exp() if by_log else place, values


def _value_and_slope(loss: RobustLoss, weights: Tensor, place: Tensor, by_log: bool) -> tuple[Tensor, Tensor]:
    leaf = (place.exp() if by_log else place).detach().requires_grad_()
    with torch.enable_grad(), _NothingDetached():
        values = losses_at(loss, leaf) @ weights
        (slopes,) = torch.autograd.grad(values.sum(), leaf)
    slopes = torch.nan_to_num(slopes, nan=0.0, posinf=1e6, neginf=-1e6)
    if by_log:
        slopes = slopes - (slopes * leaf.detach()).sum(1, keepdim=True)
    return values.detach(), slopes


class _NothingDetached(TorchFunctionMode):
    """Inside, factors that a loss detaches for training get their gradient: its value is what is minimised."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is Tensor.detach else func(*args, **(kwargs or {}))
