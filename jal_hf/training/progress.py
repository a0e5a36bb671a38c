"""One progress bar for a run: steps, time left, and the figures of the last epoch beside it."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import has_length

from jal_hf.data.progress import progress_line

_SHOWN = {
    "loss": "loss",
    "eval_accuracy": "test accuracy",
    "validation_accuracy": "noisy validation accuracy",
}


class ProgressBarCallback(TrainerCallback):
    """Takes the place of the stock bar, which prints a line at every evaluation; a long evaluation has its own."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._evaluation: Any = None
        self._figures: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self._bar = progress_line(state.max_steps, "training", "step", initial=state.global_step)

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

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        if self._evaluation is None:
            batches = len(eval_dataloader) if has_length(eval_dataloader) else None
            self._evaluation = progress_line(batches, "evaluating", "batch", leave=self._bar is None)
        self._evaluation.update()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._close_evaluation()

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any,
        **kwargs: Any,
    ) -> None:
        self._close_evaluation()

    def _close_evaluation(self) -> None:
        if self._evaluation is not None:
            self._evaluation.close()
            self._evaluation = None
