"""A method's state in every checkpoint, and its hooks around the steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint, has_length

from jal_hf.data.column_values import integer_column
from jal_hf.data.raw_datasets import is_raw
from jal_hf.training.methods.method import Method
from jal_hf.training.methods.step_view import Setting

STATE_FILE = "method.safetensors"


class MethodCallback(TrainerCallback):
    """Starts a method, saves its state before a checkpoint is marked as whole, and takes it up on resume."""

    def __init__(self, method: Method, seed: int) -> None:
        self.method = method
        self.seed = seed
        self.at_begin: Callable[[], None] | None = None
        """What is left to prepare when the model is made only by then."""

    def prepare(self, trainer: Any, resume_from: str | bool | None) -> None:
        """Begin a training, from a checkpoint's state where one is resumed.

        Raises:
            ValueError: The checkpoint's state is of another method or other data, or the weights are sharded and the
                method averages them.
        """
        self.method.begin(setting_of(trainer, self.seed))
        if self.method.averages_weights and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
            raise ValueError(
                f"Method {self.method.name!r} averages whole weights, and FSDP and DeepSpeed keep a part of them on "
                "each device. Train with DDP, or with another method."
            )
        folder: Any = resume_from
        if resume_from is True:
            folder = get_last_checkpoint(str(trainer.args.output_dir))  # type: ignore[no-untyped-call]
        if folder:
            self._load(Path(str(folder)))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.at_begin is not None:
            self.at_begin()
            self.at_begin = None

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

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint:
            self._load(Path(state.best_model_checkpoint))
        self.method.end(self.method.setting.model)

    def _load(self, checkpoint: Path) -> None:
        path = checkpoint / STATE_FILE
        self.method.load_state_dict(load_file(path) if path.is_file() else {})


def setting_of(trainer: Any, seed: int) -> Setting:
    """What a method may know of a trainer's run."""
    model = trainer.accelerator.unwrap_model(trainer.model)

    def gathered(value: Tensor) -> Tensor:
        together: Tensor = trainer.accelerator.gather(value)
        return together

    def say(sentence: str) -> None:
        if trainer.is_world_process_zero() and not trainer.args.disable_tqdm:
            print(sentence, flush=True)

    alone = trainer.args.world_size == 1
    weight = trainer.criterion.weight
    classes = trainer.num_classes if weight is None else len(weight)
    return Setting(
        model=model,
        criterion=trainer.criterion,
        seed=seed,
        num_classes=getattr(getattr(model, "config", None), "num_labels", classes),
        rows=len(trainer.train_dataset) if has_length(trainer.train_dataset) else None,
        row_ids=_row_ids(trainer.train_dataset),
        device=trainer.args.device,
        processes=trainer.args.world_size,
        **({} if alone else {"summed": trainer._sum_over_processes, "gathered": gathered}),
        say=say,
    )


def _row_ids(dataset: Any) -> Tensor | None:
    """The `index` of all rows of a dataset that tells it as a whole, (rows,); None of another."""
    if isinstance(dataset, datasets.Dataset):
        is_there = is_raw(dataset) and "index" in dataset.column_names
        return torch.tensor(integer_column(dataset, "index")) if is_there else None
    columns = getattr(dataset, "columns", None)
    found = columns.get("index") if isinstance(columns, dict) else None
    return found if isinstance(found, Tensor) else None
