"""Keyed draws: what a loss draws for a row depends on (seed, step, row); without a step, training draws one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Odd, and so large that no row of another step or seed starts from the same state.
STEP_STRIDE = 0x1E3779B97F4A7C15
SEED_STRIDE = 0x2C1B3C6D297A2D39
MOST_STEPS = 1 << 31


class DrawKey(NamedTuple):
    """What keys the draws beside the seed: the step, and an id for each row of the batch.

    Without a step, training draws one from torch's generator, and all else takes 0; without ids a row's key is its
    position.
    """

    step: Tensor | None = None
    rows: Tensor | None = None


def keyed_numbers(key: DrawKey, seed: int, count: int, draws: int, logits: Tensor) -> Tensor:
    """(count, draws) integers in [0, 2^31) beside the logits; with a step they are the same on every device.

    Without a step, logits whose gradient is wanted take one from the generator of their device, so that every call
    draws anew; no other call touches torch's generators.

    Raises:
        ValueError: ids of rows that do not fit `count`, which is a multiple of their number for maps of labels.
    """
    device = logits.device
    if key.rows is None:
        state = torch.arange(count * draws, device=device)
    else:
        if key.rows.dim() != 1 or not key.rows.shape[0] or count % key.rows.shape[0]:
            raise ValueError(
                f"rows must hold one id for each row of the batch, but shape {tuple(key.rows.shape)} was given "
                f"for {count} labels."
            )
        beside = count * draws // key.rows.shape[0]
        ids = key.rows.to(device=device, dtype=torch.int64).unsqueeze(1)
        state = (ids * beside + torch.arange(beside, device=device)).flatten()
    state.add_(seed * SEED_STRIDE % (1 << 62))
    step = key.step
    if step is None and logits.requires_grad and torch.is_grad_enabled():
        step = torch.randint(MOST_STEPS, (), device=device)
    if step is not None:
        # Not in place: under vmap the step may be one of many.
        state = torch.add(state, step, alpha=STEP_STRIDE)
    return _mix(state).view(count, draws)


def _mix(state: Tensor) -> Tensor:
    """A hash of int64 in [0, 2^31), in place of the state: multiply and shift, wrapping around."""
    state.mul_(0x1F123BB5159A55E5)
    state.bitwise_xor_(state >> 29).mul_(0x2545F4914F6CDD1D)
    return state.bitwise_right_shift_(32).bitwise_and_(0x7FFFFFFF)
