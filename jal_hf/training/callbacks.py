"""Callbacks of the Trainer: the log file and the clock."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jal_hf.ground.files import append_line, read_lines, write_lines
from jal_hf.ground.run_log import LOG
from jal_hf.training.data_wait import Fetch


class LogFileCallback(TrainerCallback):
    """Appends each logged step or evaluation to `log.jsonl`, one JSON object a line.

    `seconds` of a line are those since training began, evaluation and saving included; a resumed run counts on from
    the last line that it keeps. On resume the lines after the checkpoint's step are dropped first, so that no step
    stands there twice.
    """

    def __init__(self) -> None:
        self._there: set[frozenset[str]] = set()
        self._resumed_at = 0
        self._began = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        path = Path(str(args.output_dir)) / LOG
        kept = [line for line in read_lines(path) if line.get("step", 0) <= state.global_step]
        # The closing line of an interrupted run is no step of the resumed one.
        kept = [] if state.global_step == 0 else [line for line in kept if "train_runtime" not in line]
        self._there = {_names(line) for line in kept if line.get("step") == state.global_step}
        self._resumed_at = state.global_step
        known = (line.get("seconds") for line in kept)
        spent = max((float(value) for value in known if isinstance(value, int | float)), default=0.0)
        self._began = time.perf_counter() - spent
        write_lines(path, kept)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or logs is None:
            return
        seconds = round(time.perf_counter() - self._began, 3)
        line = {key: _jsonable(value) for key, value in logs.items()}
        line = {"step": state.global_step, **line, "seconds": seconds}
        if state.global_step == self._resumed_at and _names(line) in self._there:
            return
        append_line(Path(str(args.output_dir)) / LOG, line)


def _names(line: Mapping[str, Any]) -> frozenset[str]:
    """What a line tells of; logs of earlier versions told no seconds."""
    return frozenset(line) - {"seconds"}


def _jsonable(value: Any) -> Any:
    """Numbers as JSON takes them: non-finite ones become null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ThroughputCallback(TrainerCallback):
    """Measures seconds spent in training steps, data work included, and the share of it spent waiting for data.

    Evaluation, saving and the first `warmup_steps` steps are left out.
    """

    def __init__(self, warmup_steps: int = 10) -> None:
        self.warmup_steps = warmup_steps
        self.seconds = 0.0
        self.steps = 0
        self._seen = 0
        self._resumed_at: float | None = None
        self._fetches: list[Fetch] = []
        self._measured: deque[Fetch] = deque()
        self._waited = 0.0

    @property
    def wait_share(self) -> float:
        """Seconds spent waiting for data over seconds of training, in [0, 1]; 0 before anything was measured."""
        self._settle(now=True)
        return min(1.0, self._waited / self.seconds) if self.seconds else 0.0

    def add(self, fetch: Fetch) -> None:
        """Take note of a fetch of the current step's batches."""
        self._fetches.append(fetch)

    def images_per_second(self, global_batch_size: int) -> float | None:
        """Training images a second, or None where the run was too short to measure."""
        return self.steps * global_batch_size / self.seconds if self.seconds else None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._restart()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.perf_counter()
        self._seen += 1
        if self._resumed_at is not None and self._seen > self.warmup_steps:
            self.seconds += now - self._resumed_at
            self._measured += self._fetches
            self.steps += 1
        self._resumed_at, self._fetches = now, []
        self._settle()

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self._restart()

    def on_save(self, *_: Any, **__: Any) -> None:
        self._restart()

    def on_log(self, *_: Any, **__: Any) -> None:
        self._restart()

    def _restart(self) -> None:
        self._resumed_at, self._fetches = time.perf_counter(), []

    def _settle(self, *, now: bool = False) -> None:
        while self._measured and (now or self._measured[0].is_known):
            self._waited += self._measured.popleft().seconds()
