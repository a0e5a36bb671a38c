"""Records of version 0.1, which keep a run's settings as the command that was typed."""

from __future__ import annotations

import shlex

from jal_hf.cli.flags import explicit_flags
from jal_hf.ground.record import RunRecord
from jal_hf.ground.secrets import without_secrets
from jal_hf.runs.config import RunConfig
from jal_hf.runs.recipes import list_recipes


def config_of_command(record: RunRecord) -> RunConfig:
    """The config of a run whose record has none, from its command and from what the record says came of it.

    A command is data: only fields that decide a result are taken from it, and the loss's parameters and decay are
    those recorded, whatever today's presets are.

    Raises:
        ValueError: The record keeps no `jal-hf train` command.
    """
    try:
        words = shlex.split(record.command or "")
    except ValueError:
        words = []
    if "train" not in words:
        raise ValueError(
            f"The run's record keeps no `jal-hf train` command (it says {record.command!r}), so its "
            "data and settings cannot be found again. Name the data with --dataset."
        )
    asked = without_secrets(explicit_flags(words[words.index("train") + 1 :]))
    recipe, fast = asked.pop("recipe", "digits"), bool(asked.pop("fast", False))
    if recipe not in list_recipes():
        raise ValueError(
            f"The run's record names the recipe file {recipe!r}, which it does not hold. Name the data with --dataset."
        )
    config = RunConfig.from_recipe(recipe, fast=fast, **asked).repeated()
    decay = {
        "weight_decay": record.training.get("weight_decay"),
        "l1_weight_decay": record.loss.get("l1_weight_decay"),
    }
    known = {name: value for name, value in decay.items() if value is not None}
    return config.replace(loss_args=dict(record.loss.get("params") or {}), preset=None, **known)
