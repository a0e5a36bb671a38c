"""From what is asked to what is run: plain values, the preset's parameters and decay, the folder's name."""

from __future__ import annotations

import os

from jal_hf.ground.files import JsonObject
from jal_hf.losses import RobustLoss, loss_preset
from jal_hf.runs.values import Values, checked_value, checked_values, known_fields
from jal_hf.training.methods import Method

PRESET_VALUES = ("loss_args", "weight_decay", "l1_weight_decay")
"""Fields that a preset fills."""


def plain_changes(changes: Values) -> JsonObject:
    """Changes by field name as plain, checked values: a loss or a noise given as an object by its own words.

    Raises:
        ValueError: A name that no field has, or a value of the wrong type.
    """
    plain: JsonObject = {}
    for name, value in changes.items():
        if isinstance(value, RobustLoss):
            settings = dict(value.config())
            plain["loss"] = str(settings.pop("name"))
            plain["loss_args"] = settings
        elif isinstance(value, Method):
            plain["method"], plain["method_args"] = value.name, value.parameters()
        elif name == "noise" and hasattr(value, "spec"):
            plain["noise"] = str(value.spec)
        elif name == "dataset" and value is not None and not isinstance(value, str | os.PathLike):
            raise ValueError(
                f"A config holds the names of datasets, not a {type(value).__name__}; an object goes to "
                "jal_hf.train(data=...), jal_hf.finetune or JALTrainer.from_recipe(train_dataset=...)."
            )
        elif name == "resume":
            plain["resume_from_checkpoint"] = "auto" if value is True else value
        else:
            plain[name] = checked_value(name, value) if name in known_fields() else value
    found = checked_values(plain)
    check_steps(found)
    return found


def check_steps(values: Values) -> None:
    """Raise ValueError for a `max_steps` that counts none: transformers would take it as not set."""
    steps = values.get("max_steps")
    if steps is not None and steps != -1 and steps < 1:
        raise ValueError(
            f"max_steps must be at least 1, got {steps}; -1, or leaving it out, trains for num_train_epochs."
        )


def with_preset(values: Values, asked: Values) -> JsonObject:
    """Fill loss parameters and decay from the preset, where they were not given.

    A preset that is asked for brings its parameters in place of a recipe's; `auto` is worked out with the data.
    """
    preset = values.get("preset")
    if preset in (None, "none"):
        return {**values, "preset": None}
    if preset == "auto":
        return {**values, "loss_args": asked.get("loss_args")} if "preset" in asked else dict(values)
    chosen = loss_preset(str(values.get("loss", "jal-ce")), str(preset))
    own = values.get("loss_args") if "preset" not in asked else asked.get("loss_args")
    given = {name: value for name, value in values.items() if name in PRESET_VALUES and value is not None}
    if "preset" in asked:
        given = {name: value for name, value in given.items() if name in asked}
    if "weight_decay" in asked and "l1_weight_decay" not in given:
        given["l1_weight_decay"] = 0.0
    decay = {"weight_decay": chosen.weight_decay, "l1_weight_decay": chosen.l1_weight_decay}
    return {**values, **decay, **given, "loss_args": {**chosen.params, **(own or {})}}


def default_folder(recipe: str, values: Values) -> str:
    """Where a run goes that was given no folder."""
    noise = str(values.get("noise") or "none")
    for sign in ":/,#":
        noise = noise.replace(sign, "-" if sign == ":" else "_")
    method = values.get("method") or "plain"
    named = str(values.get("loss", "jal-ce")) + ("" if method == "plain" else f"-{method}")
    return f"runs/{recipe}-{named}-{noise}-seed{values['seed']}"


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
