"""Reading small values from the device without stopping it."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor


class DelayedFlag:
    """The flag pushed last on a CPU; on CUDA the one pushed a step before, copied meanwhile in the background.

    The delay is the same on every process, so all of them act on a flag at the same step.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Tensor, Any, Any]] = deque()

    def push(self, value: Tensor, note: Any = None) -> None:
        """Start to bring a scalar to the host; `note` comes back with it."""
        if value.device.type != "cuda":
            self._waiting.append((value.detach(), None, note))
            return
        host = torch.empty((), dtype=value.dtype, pin_memory=True)
        host.copy_(value.detach(), non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        self._waiting.append((host, copied, note))

    def read(self, *, now: bool = False) -> tuple[float, Any]:
        """The oldest raised flag (not zero) not read before, and its note; (0, None) where none is raised.

        Args:
            now: Wait for the newest flag too.
        """
        while self._waiting:
            value, copied, note = self._waiting[0]
            if copied is not None:
                if not now and len(self._waiting) == 1:
                    break
                copied.synchronize()
            self._waiting.popleft()
            # Read where it lies: `.item()` would wait for the device if this were not the host's memory.
            flag = float(value.tolist())  # type: ignore[arg-type]
            if flag:
                return flag, note
        return 0.0, None
