"""One run from its config to a finished folder, and what can be done with it then."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from torch import nn
from transformers import set_seed

from jal_hf.ground.record import RunRecord
from jal_hf.hub import check_hub_access, push_run, repository_name
from jal_hf.models import create_model
from jal_hf.noise import parse_noise_spec
from jal_hf.runs.config import RunConfig
from jal_hf.runs.folder import check_place, clear_the_way, find_start
from jal_hf.runs.given_data import beside_config
from jal_hf.runs.lock import LOCK, held
from jal_hf.runs.marker import MARKER, is_pushed, note_push
from jal_hf.runs.parts import check_config, check_network, load_data
from jal_hf.runs.prediction import Prediction, predict_images
from jal_hf.runs.repeat import config_from
from jal_hf.runs.replacement import after_failure
from jal_hf.runs.texts import TASK, load_text_classifier, predict_texts
from jal_hf.runs.trainer import JALTrainer
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.failures import explained, interrupted
from jal_hf.training.hardware import LAUNCHED_ALONE, launched_alone

if TYPE_CHECKING:
    from jal_hf.runs.audit.audit import Audit


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: Weights, record, log, plots and card.
        record: The facts, as in `run.json`.
        data: The dataset object that was trained on, where one was given in place of a name.
        trainer: The trainer that made it; None where several did, as in fine-tuning.
        address: Where it was pushed to, if it was.
    """

    folder: Path
    record: RunRecord
    trainer: JALTrainer | None = None
    address: str | None = None
    data: Any = None

    @property
    def model(self) -> nn.Module:
        """The trained network, in evaluation mode."""
        if self.trainer is None and self._is_text:
            network: nn.Module = load_text_classifier(self.folder)[0]
            return network
        if self.trainer is None:
            loaded: nn.Module = create_model(
                str(self.folder), num_labels=int(self.record.model["num_labels"])
            )
            return loaded.eval()
        network = self.trainer.accelerator.unwrap_model(self.trainer.model)
        return network.eval()

    @property
    def _is_text(self) -> bool:
        return self.record.model.get("task") == TASK

    def predict(self, examples: Sequence[Any]) -> list[Prediction]:
        """The class of each example, `label`, and how sure the model is of it, `score` in [0, 1].

        An image that cannot be decoded has None for both, as in `predict_images`.

        Args:
            examples: PIL images, paths, or arrays (H, W) or (H, W, 3) of uint8; texts, of a run on text.
        """
        return (predict_texts if self._is_text else predict_images)(self.folder, examples)

    def audit(self, **options: Any) -> Audit:
        """Rank the training labels; see `jal_hf.audit_run`."""
        from jal_hf.runs.audit.audit import audit_run

        if self.data is not None:
            options.setdefault("dataset", self.data)
        return audit_run(self.folder, **options)

    def push(self, repo_id: str, **options: Any) -> str:
        """Push checkpoint, card, record and plots in one commit; see `jal_hf.push_run`. Returns the address."""
        return push_run(self.folder, check_hub_access(repo_id, token=options.get("token")), **options)


def train(
    recipe: str | Path | None = None,
    *,
    data: Any = None,
    model: nn.Module | str | None = None,
    **changes: Any,
) -> RunResult:
    """Train one robust classifier and leave a whole run folder; `jal-hf train` is a caller of this.

    Args:
        recipe: Built-in name, YAML file, or a finished run to repeat: its folder or `run.json`. None is `imagefolder`
            where data is given, else `digits`.
        data: A Hugging Face dataset, a DataFrame of paths and labels, a dict of such splits, a name or a folder, in
            place of the recipe's; it gets no noise unless `noise` is among the changes.
        model: A network in place of the recipe's, by name or as an object.
        changes: By flag name of `jal-hf train`: `loss="gce"`, `noise="symmetric:0.4"`, `output_dir="runs/x"`,
            `seed=1`, `learning_rate=0.1`, ...

    Raises:
        ValueError: Settings, labels or images that cannot be trained on, before any training.
        FileExistsError: The folder holds a run and neither `overwrite` nor `resume` was asked.
        RunError: The run failed on the way: a disk, a loss that is not finite, a signal.

    Example:
        result = jal_hf.train("digits", loss="gce", output_dir="runs/digits-gce")
        print(result.record.last["accuracy"], result.predict(["digit.png"]))
    """
    if isinstance(model, str):
        changes["model"] = model
    given, changes = beside_config(data, changes)
    network = model if isinstance(model, nn.Module) else None
    return run_training(config_from(recipe, **changes), given=given, model=network)


def run_training(
    config: RunConfig,
    *,
    data: Any = None,
    given: Any = None,
    model: nn.Module | None = None,
    report: Callable[[RunRecord, Path], None] | None = None,
) -> RunResult:
    """Train as the config says and complete the run's folder; push it where that was asked.

    Args:
        data: Data already loaded by `load_noisy_dataset` for this config; None loads it here.
        given: A dataset object to load in place of the config's name.
        model: A network in place of the config's.
        report: Told of the finished run before it is pushed.

    Raises:
        As `train`; ConnectionError when the push failed: the folder is complete then, and the message says how to
        try again.
    """
    args = check_config(config)
    if model is None:
        check_network(config)
    if not config.data.streaming:
        parse_noise_spec(config.noise)
    folder = config.output_dir
    name = ""
    if args.push_to_hub:
        name = args.hub_model_id or repository_name(str(folder))
        args.hub_model_id = check_hub_access(name, token=args.hub_token, revision=args.hub_revision)
    overwrite = bool(config.training.get("overwrite"))
    resume = config.training.get("resume_from_checkpoint")
    if launched_alone():
        logger.warning(LAUNCHED_ALONE)
    is_first = args.process_index == 0  # RANK stands in the environment of many a single process, too
    if is_first:
        check_place(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with explained(folder), held(folder) if is_first else contextlib.nullcontext():
            checkpoint = find_start(folder, overwrite=overwrite, resume=resume) if is_first else None
            checkpoint = broadcast_object_list([checkpoint])[0]
            set_seed(args.seed)
            if data is None:
                # One process of a machine downloads and decodes; the others find its files.
                with args.main_process_first(desc="loading the data"):
                    data = load_data(config, given)
            trainer = JALTrainer.from_config(config, data=data, model=model, args=args)
            if is_first:
                clear_the_way(folder, overwrite=overwrite, resume=resume)
            trainer.accelerator.wait_for_everyone()
            try:
                trainer.train(resume_from_checkpoint=checkpoint)
            finally:
                if is_first and trainer.record is None:
                    after_failure(folder)
    finally:
        if is_first:
            _remove_empty(missing)
    if trainer.stop_signals.stopped_by or trainer.record is None:
        raise interrupted(trainer.stop_signals.stopped_by, trainer.state.global_step, folder)
    address = None
    if trainer.is_world_process_zero():
        if report is not None:
            report(trainer.record, folder)
        if args.push_to_hub:
            address = _push(folder, args, str(trainer.hub_model_id), name)
    return RunResult(folder, trainer.record, trainer, address, given)


def push_what_is_left(config: RunConfig) -> str | None:
    """Push a finished run where a push is asked for and none was made, as after one that failed; returns the address.

    Raises:
        ConnectionError: The push failed.
    """
    if not config.training.get("push_to_hub"):
        return None
    args, folder = config.arguments(), config.output_dir
    name = args.hub_model_id or repository_name(str(folder))
    if is_pushed(folder, name, args.hub_revision):
        return None
    return _push(folder, args, check_hub_access(name, token=args.hub_token), name)


def _push(folder: Path, args: JALTrainingArguments, repo_id: str, asked: str) -> str:
    address = push_run(folder, repo_id, args.hub_private_repo, args.hub_token, revision=args.hub_revision)
    note_push(folder, asked, args.hub_revision)
    return address


def _remove_empty(made: Sequence[Path]) -> None:
    """A run that never began leaves no folder, and none above it."""
    for folder in made:
        if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= {MARKER, LOCK}:
            return
        for name in (MARKER, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
