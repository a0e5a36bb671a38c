"""One progress bar for a run: steps, time left, and the figures of the last epoch beside it."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_SHOWN = {
    "loss": "loss",
    "eval_accuracy": "test accuracy",
    "validation_accuracy": "noisy validation accuracy",
}


class ProgressBarCallback(TrainerCallback):
    """Takes the place of the stock bar, which opens a second bar and prints a line at every evaluation."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._figures: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            # In a file each update is a line of its own, so they come seldom there.
            pause = 0.1 if sys.stderr.isatty() else 30.0
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="training",
                unit="step",
                mininterval=pause,
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._bar is None or logs is None:
            return
        for key, name in _SHOWN.items():
            if key in logs:
                self._figures[name] = f"{logs[key]:.2f}" if key == "loss" else f"{100 * logs[key]:.2f} %"
        self._bar.set_description(f"epoch {state.epoch or 0:.0f}/{args.num_train_epochs:g}", refresh=False)
        self._bar.set_postfix(self._figures, refresh=False)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
