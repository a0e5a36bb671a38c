"""Fields of a run by what they mean: what a paper's protocol fixes, what decides a result, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jal_hf.runs.publishing import PLACES, published_value
from jal_hf.runs.recipes import Recipe
from jal_hf.runs.values import Values, known_fields
from jal_hf.training.arguments import JALTrainingArguments

# What a paper's protocol fixes; anything else (folders, logging, seeds) is no deviation from it.
PROTOCOL_FIELDS = frozenset(
    """
    dataset model pretrained image_size image_mean image_std augment num_train_epochs max_steps
    per_device_train_batch_size gradient_accumulation_steps learning_rate lr_scheduler_type lr_scheduler_kwargs
    optim optim_args weight_decay l1_weight_decay decay_all_parameters max_grad_norm loss_args preset method
    max_train_samples val_fraction max_eval_samples freeze head_start layer_decay head_learning_rate loss_scale
    """.split()  # noqa: SIM905 - a list of words reads better than a column of quotes
)


_OWN = frozenset({"dataset", "model", "pretrained"})
_NOTHING = {"method": "plain", "loss_scale": "none", "freeze": "none", "preset": "none"}
"""Words for what a recipe that is silent on a field does."""

# What decides a run's result, and so is all that a run made after a record takes from it.
REPEATED_FIELDS = frozenset(
    """
    loss loss_args preset method method_args layer_decay head_learning_rate loss_scale l1_weight_decay
    decay_all_parameters precision bf16 fp16 channels_last
    on_nonfinite num_train_epochs max_steps per_device_train_batch_size per_device_eval_batch_size
    gradient_accumulation_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps warmup_ratio optim
    optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm seed data_seed dataloader_drop_last
    dataloader_num_workers dataloader_persistent_workers use_cpu eval_strategy eval_steps save_strategy save_steps
    save_total_limit logging_strategy logging_steps sync_batchnorm torch_compile
    """.split()  # noqa: SIM905
)

# Those of them that a run may go on with in another way: its length, how it is looked at and kept, how rows come in.
LENGTH_FIELDS = frozenset({"num_train_epochs", "max_steps"})
BATCH_FIELDS = frozenset({"per_device_train_batch_size", "gradient_accumulation_steps"})
"""How the rows of a step are spread: the same result, as long as they are as many."""
_STEERING = frozenset(
    """
    eval_strategy eval_steps save_strategy save_steps save_total_limit logging_strategy logging_steps
    per_device_eval_batch_size dataloader_num_workers dataloader_persistent_workers use_cpu torch_compile on_nonfinite
    """.split()  # noqa: SIM905
)
_FITTED = frozenset({"image_size", "augment"})
"""Fields that own data decides where nobody asked, so that they are not known before the data is read."""
_OF_WEIGHTS = frozenset({"image_mean", "image_std"})
"""Fields that a run left to its weights has as None, and its recipe may have filled."""


def changed_setting(
    values: Values, asked: Values, begun: Mapping[str, Any], but: Iterable[str] = ()
) -> str | None:
    """How a run that is asked for differs from one that was begun, such as `loss gce instead of ce`; None: it does not.

    Args:
        values, asked: Of the run that is asked for.
        begun: What `RunConfig.to_dict` gave for the one that was begun.
        but: Fields that may differ, beside those that decide nothing. Data and weights are told apart by name alone,
            since they may lie elsewhere now.
    """
    data, model, training, asked_then = (
        dict(part) if isinstance(part := begun.get(name), Mapping) else {}
        for name in ("data", "model", "training", "asked")
    )
    before = {**data, **model, **training}
    known = known_fields()
    names = [name for name in known if known[name][0] is not JALTrainingArguments or name in REPEATED_FIELDS]
    own = {*asked, *asked_then}
    for name in sorted(names, key=lambda name: name not in asked):  # what somebody typed is named first
        if name in _STEERING or name in but or (name in _FITTED and name not in own):
            continue
        default = known[name][1].default
        new, old = values.get(name, default), before.get(name, default)
        if name in _OF_WEIGHTS and name not in own and old is None:
            continue
        if new != old and (name not in PLACES or _last_part(name, new) != _last_part(name, old)):
            return deviation(name, new, old)
    return None


def _last_part(name: str, value: Any) -> str:
    return Path(str(published_value(name, value))).name


def deviations(recipe: Recipe, values: Values, asked: Values, fast: bool) -> tuple[str, ...]:
    """Sentences on each value that differs from what the recipe's protocol fixes."""
    sentences = [str(item) for item in recipe.protocol.get("deviations") or []]
    changed = {*asked, *(recipe.fast if fast else ())}
    return (*sentences, *changed_values(changed, values, recipe.settings, recipe.protocol.get("paper")))


def changed_values(names: Iterable[str], values: Values, before: Values, paper: object) -> list[str]:
    """A sentence on each of the fields that is another than before, as far as a protocol fixes it.

    Data and network count where there is a paper: without one they are the user's to name. A dataset of the same last
    name is the same: `/data/cifar10` is a copy of `uoft-cs/cifar10`.
    """
    sentences = []
    for name in sorted(PROTOCOL_FIELDS & set(names)):
        new, old = values.get(name), before.get(name)
        is_same = new == old or (not paper and name in _OWN) or (old is None and new == _NOTHING.get(name))
        if name == "dataset":
            is_same = is_same or Path(str(new)).name == Path(str(old)).name
        if not is_same:
            sentences.append(deviation(name, new, old))
    return sentences


def deviation(name: str, value: Any, before: Any) -> str:
    """One value that is another than the protocol's."""
    if name in PLACES:
        value, before = published_value(name, value), published_value(name, before)
    return f"{name} {shown_value(value)}" + (
        f" instead of {shown_value(before)}" if before is not None else ""
    )


def shown_value(value: Any) -> str:
    """3.0 as 3: a flag's float and a recipe's integer read the same."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def flag_words(asked: Values) -> list[str]:
    """Values by field name as flags and their words, as a command line takes them."""
    words = []
    for name, value in asked.items():
        if value is None:
            continue
        words.append(f"--{name}")
        if isinstance(value, bool):
            words.append(str(value).lower())
        elif isinstance(value, list):
            words += [str(item) for item in value]
        else:
            words.append(json.dumps(value) if isinstance(value, dict) else shown_value(value))
    return words
