"""How a run on own data trains where nobody asked: parameters, scale and rate by loss, classes, optimizer and rows."""

from __future__ import annotations

from typing import Any

import datasets

from jal_hf.losses import loss_preset
from jal_hf.runs.config import OWN_DATA_RECIPE, RunConfig
from jal_hf.runs.fitting import is_fresh
from jal_hf.runs.recipes import load_recipe
from jal_hf.training.arguments import JALTrainingArguments

FITTED_FIELDS = frozenset({"learning_rate", "loss_scale", "loss_args", "method"})
"""Fields that this module decides."""
ROWS, MOST_ROWS = 128, 256
"""Rows of a step that the recipe's rate is for, and up to which it grows."""
ADAPTIVE_RATE, ADAPTIVE_RATE_LOADED = 1e-3, 3e-4
"""PyTorch's own rate of Adam and AdamW; that of `jal-hf finetune`, where weights are loaded."""
MANY_CLASSES = 32
"""Classes, between the 10 and 100 of the papers, from which the parameters for 100 are the nearer ones."""
FEW_ROWS = 20_000
"""Training rows below which cross entropy goes first, for the warm-up's own share of the training."""


def rows_a_step(args: JALTrainingArguments) -> int:
    """Rows that one step of the optimizer sees, of all processes."""
    return int(args.train_batch_size * args.gradient_accumulation_steps * args.world_size)


def fitted_training(config: RunConfig, args: JALTrainingArguments, data: Any) -> RunConfig:
    """A run on own data with what suits its loss, classes and rows, and `args` brought to the same.

    Any other run comes back itself.

    With SGD the recipe's rate is cross entropy's at 128 rows, so it grows with the rows (Goyal et al., 2017), up to
    256, beyond which it would have to be warmed up; and the loss is scaled to cross entropy's gradient: JAL's at the
    parameters for 10 classes is 16 times that of cross entropy at 2 classes and 1/120 at 100, which ends at one class
    for all or learns nothing. Optimizers that scale their steps themselves get a rate of their own. A loss has the
    papers' parameters for 10 or for 100 classes.

    Bounded losses start slowly, and the steps of few rows are soon over: cross entropy goes first there, too short to
    learn the wrong labels. A rate that was asked for keeps the training as it is.
    """
    if config.recipe != OWN_DATA_RECIPE:
        return config
    chosen: dict[str, Any] = {}
    if not {"loss_args", "preset"} & {*config.asked} and data.num_classes >= MANY_CLASSES:
        chosen["loss_args"] = dict(loss_preset(config.loss, "cifar100").params) or None
    if "learning_rate" not in config.asked:
        train = data["train"]
        is_few = isinstance(train, datasets.Dataset) and len(train) < FEW_ROWS
        if is_few and config.loss != "ce" and "method" not in config.asked:
            chosen["method"] = "warmup"
        if str(config.training.get("optim", "")).startswith("sgd"):
            # The recipe's own: a run's record holds the fitted one.
            rate = float(load_recipe(OWN_DATA_RECIPE).settings["learning_rate"])
            rate *= min(rows_a_step(args), MOST_ROWS) / ROWS
            chosen["loss_scale"] = "gradient"
        else:
            rate = ADAPTIVE_RATE if is_fresh(config.model) else ADAPTIVE_RATE_LOADED
            chosen["loss_scale"] = "none"
        chosen["learning_rate"] = rate
    config = config.fitted(**chosen)
    for name in chosen:
        setattr(args, name, config.training[name])
    return config
