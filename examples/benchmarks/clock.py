"""A clock for training loops: wall and processor time, the GPU waited for."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Spent:
    """Seconds on the wall, and seconds of processor time of this process and its workers."""

    wall: float
    cpu: float


class Clock:
    """Measures what is spent between `start` and `stop`, with the GPU idle at both."""

    def start(self) -> None:
        """Begin."""
        wait_for_device()
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()

    def stop(self) -> Spent:
        """End."""
        wait_for_device()
        return Spent(time.perf_counter() - self._wall, _cpu_seconds() - self._cpu)


def wait_for_device() -> None:
    """Let the GPU finish what was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _cpu_seconds() -> float:
    """Processor time of this process and, on Linux, of its DataLoader workers so far."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        status = Path(f"/proc/{child.pid}/stat")
        if status.is_file():
            ticks = status.read_text().rpartition(")")[2].split()[11:13]
            total += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return total
