"""What a search chose, as a recipe that `jal-hf train` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from jal_hf.analysis.search_space import LEARNING_RATE
from jal_hf.training.settings import RunSettings

_NOT_IN_A_RECIPE = frozenset({"output_dir", "val_fraction", "overwrite", "resume", "fast", "preset"})


def tuned_recipe(
    argv: Sequence[str],
    settings: RunSettings,
    parameters: Mapping[str, Any],
    best: Mapping[str, float],
    score: float,
    trials: int,
) -> dict[str, Any]:
    """The recipe of `settings` with the best trial's values in place, four significant digits each."""
    flags = {word[2:].split("=", 1)[0] for word in argv if word.startswith("--")}
    values = dict(settings.recipe.settings)
    if "fast" in flags:
        values |= {name: value for name, value in settings.recipe.fast.items() if name != "why"}
    values |= {flag: _asked(settings, flag) for flag in flags if flag not in _NOT_IN_A_RECIPE}
    chosen = {name: float(f"{value:.4g}") for name, value in best.items()}
    rate = chosen.pop(LEARNING_RATE)
    values = {name: value for name, value in values.items() if name not in _NOT_IN_A_RECIPE}
    values |= {
        "loss": settings.training.loss,
        "loss_args": {**dict(parameters), **chosen},
        LEARNING_RATE: rate,
        "weight_decay": settings.training.weight_decay,
        "l1_weight_decay": settings.training.l1_weight_decay,
    }
    how = f"chosen by jal-hf tune in {trials} trials on a noisy validation split (accuracy there {score:.4f})"
    return {
        "description": f"{settings.recipe.name} with {settings.training.loss}, settings found by a search.",
        **values,
        "protocol": {
            "paper": settings.recipe.protocol.get("paper"),
            "deviations": [*settings.recipe.protocol.get("deviations", []), f"settings {how}"],
        },
        "sources": {**settings.recipe.sources, "loss_args": how, LEARNING_RATE: how},
    }


def write_recipe(path: Path, recipe: Mapping[str, Any]) -> Path:
    """Write the recipe as YAML; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100)
    path.write_text(text, encoding="utf-8")
    return path


def _asked(settings: RunSettings, flag: str) -> Any:
    """The parsed value of a flag that stood on the command line."""
    if flag == "lr_scheduler_type" and settings.training.epoch_schedule is not None:
        return settings.training.epoch_schedule
    for part in (settings.data, settings.model, settings.training):
        if hasattr(part, flag):
            value = getattr(part, flag)
            return value.value if isinstance(value, Enum) else value
    raise ValueError(f"--{flag} is no flag of jal-hf train.")
