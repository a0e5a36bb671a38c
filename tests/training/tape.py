"""A recording that replays as a CUDA graph does: operators on the same memory, and no Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from jal_hf.training.captured.recording import Outcome


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            detached = tree_map(lambda one: one.detach() if isinstance(one, Tensor) else one, result)
            self.operators.append((func, args, kwargs or {}, detached))
        return result


class TapeRecording:
    """Stands in for `Recording`. What a step's Python does besides its operators happens once, as on a GPU."""

    def __init__(self, function: Callable[[], Outcome], device: torch.device, pool: Any = None) -> None:
        self._function = function
        self._tape = _Tape()
        self._outcome: Outcome | None = None

    def replay(self) -> Outcome:
        """Run the operators again on the same memory; results that they allocated go where they first lay."""
        if self._outcome is None:
            with self._tape:
                self._outcome = self._function()
            return self._outcome
        with torch.no_grad():
            for func, args, kwargs, results in self._tape.operators:
                fresh = func(*args, **kwargs)
                for kept, value in zip(tree_flatten(results)[0], tree_flatten(fresh)[0], strict=True):
                    if isinstance(kept, Tensor) and kept.data_ptr() != value.data_ptr():
                        kept.copy_(value)
        return self._outcome
