"""`JALTrainer`: the trainer that leaves a run's whole folder behind."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from torch import nn

from jal_hf.ground.record import RunRecord
from jal_hf.runs.completion import complete_run
from jal_hf.runs.config import RunConfig
from jal_hf.runs.fitted_training import fitted_training, rows_a_step
from jal_hf.runs.fitting import fitted_to_images
from jal_hf.runs.folder import (
    check_place,
    last_undamaged_checkpoint,
    named_checkpoint,
    refuse_foreign_checkpoints,
)
from jal_hf.runs.given_data import beside_config
from jal_hf.runs.going_on import data_digests, refuse_other_settings
from jal_hf.runs.lock import held, is_held_here
from jal_hf.runs.marker import is_marked, mark_folder, marked_settings
from jal_hf.runs.parts import build_trainer, load_data
from jal_hf.runs.recording import facts_of_config, facts_of_trainer
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.hardware import LAUNCHED_ALONE, launched_alone
from jal_hf.training.trainer import RobustTrainer

logger = logging.getLogger(__name__)


class JALTrainer(RobustTrainer):
    """A `transformers.Trainer` with a robust loss, whose `train` ends with a folder that is ready to use.

    After training the output folder holds the weights in the form that transformers, `pipeline` and timm load, the
    record `run.json`, plots, and the model card. With `save_strategy="no"` nothing is written.

    Args:
        As `RobustTrainer`.

    Example:
        trainer = JALTrainer.from_recipe("cifar10", noise="symmetric:0.4", output_dir="runs/mine")
        trainer.train()
    """

    config: RunConfig | None = None
    record: RunRecord | None = None
    """The record of the run once it is trained."""

    @classmethod
    def from_recipe(
        cls,
        recipe: str | Path | None = None,
        *,
        model: nn.Module | str | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        **changes: Any,
    ) -> JALTrainer:
        """A trainer with a recipe's loss, network, optimiser, schedule and augmentation.

        Args:
            recipe: As in `RunConfig.from_recipe`.
            model: A network in place of the recipe's, as an object or by name.
            train_dataset, eval_dataset: Raw datasets in place of the recipe's. No noise is put on them unless
                `noise` is among the changes.
            changes: By flag name of `jal-hf train`.

        Raises:
            ValueError: What `jal-hf train` would refuse.
        """
        network = model if isinstance(model, nn.Module) else None
        if isinstance(model, str):
            changes["model"] = model
        _, changes = beside_config(train_dataset, changes)
        config = RunConfig.from_recipe(recipe, **changes)
        splits = {"train": train_dataset, "test": eval_dataset}
        given = {name: split for name, split in splits.items() if split is not None}
        return cls.from_config(config, data=load_data(config, given or None), model=network)

    @classmethod
    def from_config(
        cls,
        config: RunConfig,
        *,
        data: Any = None,
        model: nn.Module | None = None,
        args: JALTrainingArguments | None = None,
    ) -> JALTrainer:
        """The trainer of a run.

        Args:
            data: What `load_noisy_dataset` gave for the config; None loads it here.
            args: `config.arguments()`, where they were made already: a process may make them once.
        """
        data = load_data(config) if data is None else data
        args = args or config.arguments()
        config = fitted_to_images(config, data) if model is None else config
        config = fitted_training(config, args, data)
        trainer = build_trainer(config, data, args=args, model=model, trainer_class=cls)
        assert isinstance(trainer, cls)
        trainer.config = config
        trainer.local_paths = {}
        trainer.known_facts = facts_of_config(config, data, trainer.args.precision_name, trainer.local_paths)
        if model is not None:
            del trainer.known_facts["model"]  # the network tells its own name
        return trainer

    local_paths: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed
    """Where data and weights lie on this machine, by field; kept beside the record, never in it."""

    @property
    def leaves_a_folder(self) -> bool:
        """Whether the end of training writes weights, record and card."""
        return str(getattr(self.args.save_strategy, "value", self.args.save_strategy)) != "no" or (
            self.config is not None
        )

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As the parent's; then the folder is completed, unless a signal ended the training before its end.

        Trials of a search leave their checkpoints and logs alone.
        """
        folder = Path(str(self.args.output_dir))
        is_checked = is_held_here(folder)  # by the run that calls this
        if launched_alone() and not is_checked:
            logger.warning(LAUNCHED_ALONE)
        if not self.leaves_a_folder or kwargs.get("trial") is not None:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        is_first = self.is_world_process_zero()
        if is_first:
            check_place(folder)
        with held(folder) if is_first else contextlib.nullcontext():
            start = resume_from_checkpoint or None
            if is_first:
                start = start if is_checked else _checked_start(folder, start)
                self._mark(folder, start)
            start = broadcast_object_list([start])[0]
            if not self.known_facts:
                self.known_facts = facts_of_trainer(self)
            outcome = super().train(resume_from_checkpoint=start, **kwargs)
            if not self.stop_signals.stopped_by:
                self.record = complete_run(self, evaluate=self.config is not None)
        return outcome

    def _mark(self, folder: Path, start: str | bool | None) -> None:
        """Mark the folder as ours, with the settings that its training began with.

        Raises:
            FileExistsError: The checkpoint that it starts from was made in the folder with other settings or data.
        """
        if self.config is None:
            if not is_marked(folder) or self.local_paths:
                mark_folder(folder, self.local_paths)
            return
        rows = rows_a_step(self.args)
        content = data_digests(self.known_facts.get("dataset") or {}, self.known_facts.get("noise") or {})
        settings = {**self.config.published().to_dict(), "rows": rows, "content": content}
        if start and Path(str(start)).resolve().parent == folder.resolve():
            refuse_other_settings(self.config, folder, rows, content)
            settings = marked_settings(folder) or settings
        mark_folder(folder, self.local_paths, settings)


def _checked_start(folder: Path, resume: str | bool | None) -> str | None:
    """The checkpoint that a trainer was told to go on from, found whole; True is the last one in its folder.

    Raises:
        ValueError: There is none, or it is damaged.
        FileNotFoundError: It isn't there.
        FileExistsError: Something that is not ours lies where a checkpoint will be written.
    """
    start = (
        last_undamaged_checkpoint(folder)
        if resume is True
        else named_checkpoint(Path(resume))
        if resume
        else None
    )
    if resume is True and start is None:
        raise ValueError(f"{folder} holds no whole checkpoint to resume from.")
    refuse_foreign_checkpoints(folder, start)
    return None if start is None else str(start)
