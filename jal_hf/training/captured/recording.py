"""A function on static tensors, recorded once and run again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass
class Outcome:
    """What one micro-batch gives; the tensors are overwritten by the next one.

    Attributes:
        loss: The training loss, a scalar.
        largest: Largest |logit| of each row, (N,).
        index: Row numbers (N,), or None.
        logits, labels: Of the micro-batch, for the loss's components.
        norm: Norm of the gradient before clipping; None before the last micro-batch of a step.
        bad: 0 where loss and gradient are finite, else NaN; None before the last micro-batch of a step.
    """

    loss: Tensor
    largest: Tensor
    index: Tensor | None
    logits: Tensor
    labels: Tensor
    norm: Tensor | None = None
    bad: Tensor | None = None


class Recording:
    """A CUDA graph of a function; on a CPU the function itself, its results in the same place every time.

    Args:
        function: Reads and writes tensors that stay where they are.
        device: Where.
        pool: Memory that several graphs share, as `torch.cuda.graph_pool_handle` gives it.
    """

    def __init__(self, function: Callable[[], Outcome], device: torch.device, pool: Any = None) -> None:
        self._function = function
        self._graph: Any = None
        self._outcome: Outcome | None = None
        if device.type == "cuda":
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
                self._outcome = function()

    def replay(self) -> Outcome:
        """Run it on what the static tensors hold now."""
        if self._graph is not None and self._outcome is not None:
            self._graph.replay()
            return self._outcome
        fresh = self._function()
        if self._outcome is None:
            self._outcome = fresh
        for field in fields(Outcome):
            static, value = getattr(self._outcome, field.name), getattr(fresh, field.name)
            if static is not None and static is not value:
                static.copy_(value)
        return self._outcome


def memory_pool(device: torch.device) -> Any:
    """A handle of a new pool for graphs; None on a CPU."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


class Recordings:
    """Recordings of one function's kinds, whose graphs share a memory pool.

    They live and end together: a pool whose last graph is gone cannot be recorded into again.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = memory_pool(device)
        self._of: dict[Hashable, Recording] = {}

    def __contains__(self, kind: Hashable) -> bool:
        return kind in self._of

    def __getitem__(self, kind: Hashable) -> Recording:
        return self._of[kind]

    def add(self, kind: Hashable, function: Callable[[], Outcome]) -> None:
        """Record one more kind."""
        self._of[kind] = Recording(function, self._device, self._pool)
