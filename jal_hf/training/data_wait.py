"""How long training stood still for a batch: on a GPU, how long the GPU did."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


class Fetch:
    """One fetch of the batches of a step, timed from its making to `end`.

    On a GPU the host runs ahead: where it stands in the loader it may wait for the queue of launches, while the GPU has
    work. So the GPU's own clock is asked how long it lay between the last step's end and the batch, and the shorter of
    the two counts. Nothing waits for the device.

    Args:
        make_event: Gives an event of the device with `record`, `query`, `synchronize` and `elapsed_time` in ms; None
            on a CPU, where the host's clock tells all.
    """

    def __init__(self, make_event: Callable[[], Any] | None = None) -> None:
        self._events = None if make_event is None else (make_event(), make_event())
        if self._events is not None:
            self._events[0].record()
        self._started = time.perf_counter()
        self._host_seconds = 0.0

    def end(self) -> Fetch:
        """The batches are here."""
        self._host_seconds = time.perf_counter() - self._started
        if self._events is not None:
            self._events[1].record()
        return self

    @property
    def is_known(self) -> bool:
        """Whether the device has come as far as that."""
        return self._events is None or bool(self._events[1].query())

    def seconds(self) -> float:
        """Seconds of waiting; the device is waited for where it has not come so far yet."""
        if self._events is None:
            return self._host_seconds
        before, after = self._events
        after.synchronize()
        return min(self._host_seconds, float(before.elapsed_time(after)) / 1000.0)


def fetch_on(device: torch.device) -> Fetch:
    """A fetch that starts now."""
    if device.type != "cuda":
        return Fetch()
    return Fetch(lambda: torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
