"""An Optuna study in one SQLite file, which a killed search goes on with."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jal_hf.analysis.search_space import Interval

STUDY_NAME = "jal_hf"
STARTUP_TRIALS = 8


def require_optuna() -> None:
    """ImportError with the install line when Optuna is absent."""
    if importlib.util.find_spec("optuna") is None:
        raise ImportError("A search needs Optuna, which is not installed: pip install 'jal_hf[tune]'.")


def study_options(database: Path, seed: int, finished: int, warmup_steps: int) -> dict[str, Any]:
    """Keyword arguments of `optuna.create_study`, which `Trainer.hyperparameter_search` passes on.

    The sampler's seed follows the number of finished trials, so that each trial's draws are its own. Trials
    that lag behind the median are stopped, but only after `warmup_steps`: robust losses start slowly.
    """
    import optuna

    return {
        "study_name": STUDY_NAME,
        "storage": f"sqlite:///{database}",
        "load_if_exists": True,
        "sampler": optuna.samplers.TPESampler(seed=seed + finished, n_startup_trials=STARTUP_TRIALS),
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup_steps),
    }


def open_study(
    database: Path, facts: Mapping[str, Any], space: Mapping[str, Interval], seed: int, warmup_steps: int
) -> tuple[Any, int]:
    """The study in this file, new or resumed, and how many of its trials are finished.

    A new study has the preset as its first trial, so that the search never ends below it. Trials that a kill
    left running are closed as failed and their settings put in line again. ValueError when the file's study
    searched something else than `facts` say.
    """
    import optuna

    database.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(direction="maximize", **study_options(database, seed, 0, warmup_steps))
    wanted = json.loads(json.dumps(dict(facts)))
    if not study.user_attrs:
        study.set_user_attr("facts", wanted)
        study.enqueue_trial({name: interval.preset for name, interval in space.items()})
    else:
        known = dict(study.user_attrs.get("facts") or {})
        known.setdefault("data", wanted.get("data"))  # which older searches do not tell
        names = sorted(name for name in {*known, *wanted} if known.get(name) != wanted.get(name))
        if names:
            raise ValueError(
                f"{database} holds a search with other settings ({', '.join(names)} differ); "
                "choose another --output_dir, or remove the folder to start again."
            )
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        # Killed before it took its settings, it holds none yet, though they were named: the preset's.
        study.enqueue_trial(trial.system_attrs.get("fixed_params", trial.params))
    done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return study, len(study.get_trials(deepcopy=False, states=done))
