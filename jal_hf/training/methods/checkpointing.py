"""A method's state in every checkpoint, and its hook after each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint, has_length

from jal_hf.training.methods.method import Method

STATE_FILE = "method.safetensors"


class MethodCallback(TrainerCallback):
    """Starts a method, saves its state before a checkpoint is marked as whole, and takes it up on resume."""

    def __init__(self, method: Method, seed: int) -> None:
        self.method = method
        self.seed = seed

    def prepare(self, trainer: Any, resume_from: str | bool | None) -> None:
        """Begin a training, from a checkpoint's state where one is resumed.

        Raises:
            ValueError: The checkpoint's state is of another method or other data.
        """
        rows = len(trainer.train_dataset) if has_length(trainer.train_dataset) else None
        classes = getattr(getattr(trainer.model, "config", None), "num_labels", None)
        self.method.begin(num_classes=classes, rows=rows, seed=self.seed, model=trainer.model)
        folder: Any = resume_from
        if resume_from is True:
            folder = get_last_checkpoint(str(trainer.args.output_dir))  # type: ignore[no-untyped-call]
        if folder:
            path = Path(str(folder)) / STATE_FILE
            self.method.load_state_dict(load_file(path) if path.is_file() else {})

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if model is not None:
            self.method.after_step(model, step=state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        content = self.method.state_dict()
        if content and args.should_save:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            save_file(
                {name: tensor.contiguous().cpu() for name, tensor in content.items()}, folder / STATE_FILE
            )
