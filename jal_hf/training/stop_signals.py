"""SIGTERM and SIGINT: a checkpoint at the end of the step, then a clean end.

transformers' own `enable_jit_checkpoint` catches SIGTERM alone, three seconds late, lets each process stop at a step of
its own, which hangs several, and may save in the middle of a step; so it doesn't fit here.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jal_hf.training.device_flags import DelayedFlag

_CAUGHT = (signal.SIGTERM, signal.SIGINT)


class StopSignals(TrainerCallback):
    """Ends training after the current step when a signal asks for it, with a checkpoint.

    Processes get a signal at different moments, and must stop after the same step or they would wait for each other
    for ever. So the wish travels with the label count that is gathered every step anyway (`beside` and `hear`).
    A second signal acts at once, except under a launcher, which sends one signal in several ways.
    """

    def __init__(self) -> None:
        self.received = 0
        self.stopped_by = 0
        """Number of the signal that ended training; 0 when none did."""
        self._agreed = DelayedFlag()
        self._alone = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals inside the block; not outside of the main thread, where Python allows no handlers."""
        self.received = self.stopped_by = 0
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _CAUGHT}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received and "LOCAL_RANK" not in os.environ:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = number

    def beside(self, count: Tensor) -> Tensor:
        """A scalar and this process's wish, the signal's number or 0, to be gathered together: (2,) float64."""
        return torch.stack([count.double(), torch.full_like(count, self.received, dtype=torch.float64)])

    def hear(self, wishes: Tensor) -> None:
        """Take in the gathered wishes of all processes, (world,)."""
        self._alone = False
        self._agreed.push(wishes.max())

    def _wanted(self) -> int:
        return self.received if self._alone else int(self._agreed.read()[0])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        wanted = self._wanted()
        if not wanted:
            return
        self.stopped_by = wanted
        control.should_training_stop = True
        # The last step of an epoch: on_epoch_end saves, after the evaluation that belongs to it.
        control.should_save = not _epoch_is_whole(state)
        if control.should_save:
            control.should_evaluate = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.stopped_by:
            return
        if _epoch_is_whole(state):
            control.should_save = True
        else:
            # Leaving an epoch in its middle is no end of an epoch.
            control.should_save = control.should_evaluate = control.should_log = False


def _epoch_is_whole(state: TrainerState) -> bool:
    return float(state.epoch or 0.0).is_integer()
