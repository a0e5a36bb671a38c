"""A search for loss parameters and learning rate, scored on noisy labels that were held back."""

from __future__ import annotations

import copy
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PrinterCallback

from jal_hf.analysis.search_space import LEARNING_RATE, Interval, search_space
from jal_hf.analysis.study_plot import plot_study
from jal_hf.ground.files import check_writable, refuse_links
from jal_hf.losses import default_parameters
from jal_hf.runs.audit.fold_training import QUIET, PartialData
from jal_hf.runs.config import RunConfig
from jal_hf.runs.fitted_training import fitted_training
from jal_hf.runs.fitting import fitted_to_images
from jal_hf.runs.lock import held
from jal_hf.runs.parts import build_trainer, check_network, load_data
from jal_hf.runs.protocol import PROTOCOL_FIELDS, REPEATED_FIELDS
from jal_hf.runs.tune.study import open_study, require_optuna, study_options
from jal_hf.runs.tune.tuned_recipe import tuned_recipe, write_recipe
from jal_hf.training.failures import NonFiniteLossError
from jal_hf.training.trainer import RobustTrainer

logger = logging.getLogger(__name__)

Parameters = dict[str, Any]

VALIDATION_FRACTION = 0.2
OBJECTIVE = "eval_accuracy"
DATABASE, TRIAL = "study.db", ".jal_hf_trial"
_OWN = ("best.yaml", "plots", TRIAL)
"""Files of a search; the folder in which a trial trains is removed at the end, so its name is nobody else's."""

_NO_SETTINGS = frozenset({"loss_args", "dataloader_num_workers", "dataloader_persistent_workers"})
"""Fields that are told apart by the parameters, or decide nothing."""


@dataclass(frozen=True)
class TuneResult:
    """Scores are accuracies on the noisy validation split, in [0, 1]; `recipe` is the file that trains."""

    folder: Path
    recipe: Path
    best: dict[str, float]
    score: float
    preset_score: float | None
    trials: int


def tune(config: RunConfig, output_dir: str | Path, trials: int = 30) -> TuneResult:
    """Search around a run's settings, and write the best as a recipe.

    The score is the last epoch's accuracy on a part of the training rows, with their noisy labels; no clean
    label and no test image is read. `output_dir` gets study.db (a killed search goes on where it was),
    best.yaml and plots/study.png. The preset is the first trial.

    Raises ValueError for bad settings, a folder whose study searched something else, or where no trial learned
    anything, ImportError without Optuna, FileExistsError where somebody else's files lie, or another process searches.
    """
    if trials < 1:
        raise ValueError(f"{trials} trials were asked for; give at least 1.")
    require_optuna()
    folder = Path(output_dir)
    quiet = _quiet(config, folder)
    arguments = quiet.arguments()
    check_writable(folder)
    refuse_foreign_files(folder)
    check_network(quiet)
    with held(folder):
        data = load_data(quiet)
        config, quiet = (
            fitted_training(fitted_to_images(one, data), arguments, data) for one in (config, quiet)
        )
        parameters = {**default_parameters(config.loss), **config.loss_args}
        space = search_space(config.loss, parameters, arguments.learning_rate)
        return _tuned(config, quiet, data, folder, trials, parameters, space)


def _tuned(
    config: RunConfig,
    quiet: RunConfig,
    data: Any,
    folder: Path,
    trials: int,
    parameters: Parameters,
    space: dict[str, Interval],
) -> TuneResult:
    trainer = _search_trainer(quiet, data, parameters)
    steps = _steps(trainer)
    facts = {"recipe": config.name, "data": data.fingerprint, "parameters": parameters, **_settings(quiet)}
    study, finished = open_study(folder / DATABASE, facts, space, config.seed, steps // 2)
    # One trial at a time, each with the draws of its number: a search that was killed goes on as if it had not been.
    while finished < trials:
        _search(trainer, space, parameters, folder, finished, steps // 2)
        study, finished = open_study(folder / DATABASE, facts, space, config.seed, steps // 2)

    if not study.best_value:
        raise ValueError(
            f"None of the {finished} trials got a validation row right: their losses were not finite, or they learned "
            "nothing. Give another --learning_rate, and another --output_dir."
        )
    best = {name: float(value) for name, value in study.best_params.items()}
    chosen = tuned_recipe(config, parameters, best, float(study.best_value), finished)
    recipe = write_recipe(folder / "best.yaml", chosen)
    preset = {name: interval.preset for name, interval in space.items()}
    preset_score = next(
        (trial.value for trial in study.trials if trial.params == preset and trial.value is not None), None
    )
    shutil.rmtree(folder / TRIAL, ignore_errors=True)
    plot_study(study, space, folder / "plots" / "study", f"{config.loss}: {finished} trials")
    return TuneResult(folder, recipe, best, float(study.best_value), preset_score, finished)


def refuse_foreign_files(folder: Path) -> None:
    """Nothing is written over that no search wrote.

    Raises:
        FileExistsError: The folder holds such a file and no study, or a link in the place of one.
    """
    refuse_links(folder, (DATABASE, *_OWN))
    there = [name for name in _OWN if (folder / name).exists()]
    if there and not (folder / DATABASE).is_file():
        raise FileExistsError(
            f"{folder} holds {there[0]}, and no search was begun there, so it is left alone. Choose another "
            "--output_dir."
        )


def _quiet(config: RunConfig, folder: Path) -> RunConfig:
    """The run of a trial: evaluated each epoch on held-back rows, nothing saved, pushed or reported."""
    if config.data.streaming:
        raise ValueError(
            "A stream has no rows to hold back for scoring; search on a part of the data instead."
        )
    if "val_fraction" in config.asked and not config.data.val_fraction:
        raise ValueError(
            "val_fraction is 0, and a search is scored on rows held back from training. Give a share above 0, or "
            f"leave it out for {VALIDATION_FRACTION:g}."
        )
    return config.repeated(
        **{**QUIET, "eval_strategy": "epoch"},
        output_dir=str(folder / TRIAL),
        val_fraction=config.data.val_fraction or VALIDATION_FRACTION,
    )


def _settings(config: RunConfig) -> Parameters:
    """What decides the score of a trial, beside the loss's parameters."""
    names = (PROTOCOL_FIELDS | REPEATED_FIELDS | {"noise", "noise_seed"}) - _NO_SETTINGS
    return {name: value for name, value in config.published().values.items() if name in names}


def _search_trainer(config: RunConfig, data: Any, parameters: Parameters) -> RobustTrainer:
    seen = PartialData(data, data["train"], evaluated=data["validation"])
    trainer = build_trainer(config.replace(loss_args=dict(parameters)), seen)
    fresh = copy.deepcopy(trainer.accelerator.unwrap_model(trainer.model)).cpu()
    # Every trial starts from the same weights, so that only what is searched makes a difference.
    trainer.model_init = lambda: copy.deepcopy(fresh)
    trainer.remove_callback(PrinterCallback)
    _outlive_divergence(trainer)
    return trainer


def _outlive_divergence(trainer: RobustTrainer) -> None:
    """A trial whose loss becomes no number scores 0; else it would end the search, and be drawn again by the next."""
    train = trainer.train

    def trained(*arguments: Any, **options: Any) -> Any:
        try:
            return train(*arguments, **options)
        except NonFiniteLossError as error:
            logger.warning("A trial scores 0. %s", str(error).partition(" Components")[0])
            trainer.objective = 0.0
            return None

    trainer.train = trained  # type: ignore[method-assign]


def _search(
    trainer: RobustTrainer,
    space: dict[str, Interval],
    parameters: Parameters,
    folder: Path,
    finished: int,
    warmup_steps: int,
) -> None:
    def settings_of(trial: Any) -> Parameters:
        drawn = {
            name: trial.suggest_float(name, interval.low, interval.high, log=True)
            for name, interval in space.items()
        }
        rate = drawn.pop(LEARNING_RATE)
        return {LEARNING_RATE: rate, "loss_args": {**parameters, **drawn}}

    trainer.hyperparameter_search(
        hp_space=settings_of,
        compute_objective=lambda metrics: metrics[OBJECTIVE],
        n_trials=1,
        direction="maximize",
        backend="optuna",
        **study_options(folder / DATABASE, trainer.args.seed, finished, warmup_steps),
    )


def _steps(trainer: RobustTrainer) -> int:
    arguments = trainer.args
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    rows = len(trainer.train_dataset)
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    return int(arguments.num_train_epochs * -(-rows // batch))
