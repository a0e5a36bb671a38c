"""What a search chose, as a recipe that `jal-hf train` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jal_hf.analysis.search_space import LEARNING_RATE
from jal_hf.ground.files import write_text
from jal_hf.runs.config import RunConfig
from jal_hf.runs.protocol import PROTOCOL_FIELDS, REPEATED_FIELDS
from jal_hf.runs.recipes import load_recipe
from jal_hf.runs.values import known_fields

_NOT_IN_A_RECIPE = frozenset({"output_dir", "val_fraction", "overwrite", "resume", "fast", "best", "preset"})


def tuned_recipe(
    config: RunConfig,
    parameters: Mapping[str, Any],
    best: Mapping[str, float],
    score: float,
    trials: int,
) -> Mapping[str, Any]:
    """The recipe of `config` with the best trial's values in place, four significant digits each."""
    recipe = load_recipe(config.recipe)
    named = {*recipe.settings, *config.asked}
    values = {
        name: value
        for name, value in config.published().values.items()
        if name not in _NOT_IN_A_RECIPE and value is not None and (name in named or _decides(name, value))
    }
    chosen = {name: float(f"{value:.4g}") for name, value in best.items()}
    rate = chosen.pop(LEARNING_RATE)
    values |= {
        "loss": config.loss,
        "loss_args": {**dict(parameters), **chosen},
        LEARNING_RATE: rate,
        "weight_decay": config.training.get("weight_decay") or 0.0,
        "l1_weight_decay": config.training.get("l1_weight_decay") or 0.0,
    }
    how = f"chosen by jal-hf tune in {trials} trials on a noisy validation split (accuracy there {score:.4f})"
    return {
        "description": f"{recipe.name} with {config.loss}, settings found by a search.",
        **values,
        "protocol": {
            "paper": recipe.protocol.get("paper"),
            "deviations": [*recipe.protocol.get("deviations", []), f"settings {how}"],
        },
        "sources": {**recipe.sources, "loss_args": how, LEARNING_RATE: how},
    }


def _decides(name: str, value: Any) -> bool:
    """Whether a value decides the result and is none that a run has anyway, as what own data chose by itself."""
    return name in PROTOCOL_FIELDS | REPEATED_FIELDS and value != known_fields()[name][1].default


def write_recipe(path: Path, recipe: Mapping[str, Any]) -> Path:
    """Write the recipe as YAML; returns the path."""
    return write_text(path, yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100))
