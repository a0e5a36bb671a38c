"""What fine-tuning does by itself where nothing was asked: by the size of the data and of its images."""

from __future__ import annotations

from typing import Any

import numpy as np

from jal_hf.data.images.encoded import stored_pictures
from jal_hf.models.sources import is_checkpoint_name
from jal_hf.models.timm_networks import check_timm_name, default_preprocessing
from jal_hf.runs.config import RunConfig

RECIPE, DEFAULT_MODEL = "finetune", "resnet50.a1_in1k"
SMALL, MEDIUM = 20_000, 200_000
"""Training rows below which only the last third of the layers is trained, and below which batch norm stays fixed."""
_LEAST_SIDE, _STEP, _LOOKED_AT = 96, 16, 64


def finetune_config(data: Any, model: str | None, weights: str | None, **changes: Any) -> RunConfig:
    """The run that is asked for; `data` is a name, or an object, which gets none.

    Raises:
        ValueError: There is no such network, or no published weights of it.
    """
    name = model or DEFAULT_MODEL
    if not is_checkpoint_name(name):
        check_timm_name(name, weights is None and bool(changes.get("pretrained", True)))
    found: dict[str, Any] = {"model": name, **changes}
    if isinstance(data, str):
        found["dataset"] = data
    if weights is not None:
        found["weights"] = weights
    elif not is_checkpoint_name(name):
        found.setdefault("pretrained", True)
    return RunConfig.from_recipe(RECIPE, **found)


def fitted_to_data(config: RunConfig, data: Any) -> RunConfig:
    """The same run with what the data decides; what was asked for stays."""
    rows = len(data["train"])
    chosen: dict[str, Any] = {}
    if rows >= SMALL:
        chosen["freeze"] = "bn" if rows < MEDIUM else "none"
        chosen["layer_decay"] = 0.8
    if not is_checkpoint_name(config.model.model):
        defaults = default_preprocessing(config.model.model)
        own = int(defaults["input_size"][-1])
        if not defaults.get("fixed_input_size"):
            chosen["image_size"] = min(own, fitting_size(data))
    if str(config.training.get("optim", "")).startswith("sgd"):
        chosen["loss_scale"] = "gradient"
    return config.replace(**{name: value for name, value in chosen.items() if name not in config.asked})


def fitting_size(data: Any) -> int:
    """Side in pixels that holds what the images show: their median shorter side in steps of 16, at least 96."""
    train = data["train"]
    rows = np.linspace(0, len(train) - 1, min(_LOOKED_AT, len(train))).astype(int).tolist()
    sides = [min(image.size) for image in stored_pictures(train, data.image_column, rows)]
    return max(_LEAST_SIDE, int(np.ceil(np.median(sides) / _STEP) * _STEP))
