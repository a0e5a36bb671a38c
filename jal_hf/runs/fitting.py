"""What own data and its network decide by themselves where nothing was asked: how images are shown to the network."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np

from jal_hf.data.images.encoded import stored_pictures
from jal_hf.models.sources import is_checkpoint_name, locate_checkpoint
from jal_hf.models.timm_networks import default_preprocessing, is_own_network
from jal_hf.runs.config import OWN_DATA_RECIPE, RunConfig
from jal_hf.runs.values import ModelArguments

_LEAST_PRETRAINED, _STEP_PRETRAINED = 96, 16
"""Pretrained layers see little below this side: small images are scaled up to it."""
_LEAST_FRESH, _STEP_FRESH = 64, 32
_LOOKED_AT = 64


def median_side(data: Any) -> float:
    """Median of the shorter sides of some training images, in pixels."""
    train = data["train"]
    rows = np.linspace(0, len(train) - 1, min(_LOOKED_AT, len(train))).astype(int).tolist()
    return float(np.median([min(image.size) for image in stored_pictures(train, data.image_column, rows)]))


def own_size(name: str) -> tuple[int, bool] | None:
    """The side that a network was made for, and whether it takes no other; None where its folder does not say."""
    if not is_checkpoint_name(name):
        defaults = default_preprocessing(name)
        return int(defaults["input_size"][-1]), bool(defaults.get("fixed_input_size"))
    checkpoint = locate_checkpoint(name)
    if not checkpoint.is_timm:
        return None
    is_fixed = default_preprocessing(checkpoint.config["architecture"]).get("fixed_input_size")
    return int(checkpoint.pretrained_cfg["input_size"][-1]), bool(is_fixed)


def pretrained_size(name: str, data: Any) -> int | None:
    """Side at which a pretrained network sees what the images show; None is the network's own.

    The median shorter side in steps of 16, at least 96 and at most the network's own; a network made for one size
    keeps it.
    """
    own = own_size(name)
    if own is None or own[1]:
        return None
    return min(own[0], max(_LEAST_PRETRAINED, _up(median_side(data), _STEP_PRETRAINED)))


def is_fresh(model: ModelArguments) -> bool:
    """Whether a network starts from scratch."""
    return not (model.pretrained or model.weights is not None or is_checkpoint_name(model.model))


def fitted_to_images(config: RunConfig, data: Any) -> RunConfig:
    """A run on own data with the side that its images ask for, and the mean and std that its weights were trained with.

    Any other run comes back itself. The recipe's mean and std are those of a network from scratch, and of weights in a
    file for one of the papers' networks, of which nothing says how they were trained.

    A network from scratch sees the median shorter side in steps of 32, at least 64 and at most the recipe's and the
    network's own, a pretrained one as `pretrained_size`. Random crops of a few pixels show nothing: below 96 they are
    the shifts and flips of the papers' small images.
    """
    if config.recipe != OWN_DATA_RECIPE:
        return config
    model = config.model
    if is_checkpoint_name(model.model) or not (is_fresh(model) or is_own_network(model.model)):
        config = config.fitted(image_mean=None, image_std=None)
    if not isinstance(data["train"], datasets.Dataset) or "image_size" in config.asked:
        return config
    if not is_fresh(model):
        return config.fitted(image_size=pretrained_size(model.model, data))
    own = default_preprocessing(model.model)["input_size"][-1]
    side = min(config.data.image_size or own, own, max(_LEAST_FRESH, _up(median_side(data), _STEP_FRESH)))
    small = {"augment": "crop-flip"} if side < _LEAST_PRETRAINED else {}
    return config.fitted(image_size=side, **small)


def _up(side: float, step: int) -> int:
    return int(np.ceil(side / step) * step)
