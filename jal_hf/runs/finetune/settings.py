"""What fine-tuning does by itself where nothing was asked: by the size of the data and of its images."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

from jal_hf.losses import create_loss
from jal_hf.models.sources import is_checkpoint_name, locate_checkpoint
from jal_hf.runs.config import RunConfig
from jal_hf.runs.fitting import pretrained_size
from jal_hf.training.arguments import parse_json_object

RECIPE, DEFAULT_MODEL = "finetune", "resnet50.a1_in1k"
SMALL, MEDIUM = 20_000, 200_000
"""Training rows below which only the last third of the layers is trained, and below which batch norm stays fixed."""
SLOW, WARM = 0.5, 0.3
"""A loss that starts with less of cross entropy's gradient is warmed up, for this share of the training."""


def finetune_config(dataset: str, model: str | None, weights: str | None, **changes: Any) -> RunConfig:
    """The run that is asked for."""
    name = model or DEFAULT_MODEL
    found: dict[str, Any] = {"dataset": dataset, "model": name, **changes}
    if weights is not None:
        found["weights"] = weights
    elif not is_checkpoint_name(name):
        found.setdefault("pretrained", True)
    return RunConfig.from_recipe(RECIPE, **found)


def fitted_to_data(config: RunConfig, data: Any) -> RunConfig:
    """The same run with what the data decides; what was asked for stays."""
    rows = len(data["train"])
    chosen: dict[str, Any] = {"image_size": pretrained_size(config.model.model, data)}
    if rows >= SMALL:
        chosen["freeze"] = "bn" if rows < MEDIUM else "none"
        chosen["layer_decay"] = 0.8
    if str(config.training.get("optim", "")).startswith("sgd"):
        chosen["loss_scale"] = "gradient"
    if not torch.cuda.is_available() and is_depthwise(config.model.model):
        chosen["precision"] = "fp32"
    return warmed_up(config.fitted(**chosen), data.num_classes)


def warmed_up(config: RunConfig, num_classes: int) -> RunConfig:
    """The same run, cross entropy first where its loss would take most of the training to tell the classes apart.

    The gradient of a bounded loss on a network that knows nothing falls with the number of classes: nce+agce has that
    of cross entropy at 10 and a tenth of it at 100. The rows' weights hold during the warm-up too.
    """
    training = config.training
    preset, known = training.get("preset"), parse_json_object("loss_args", training.get("loss_args"))
    if preset == "auto":
        known.setdefault("num_classes", num_classes)
    loss = create_loss(str(training["loss"]), preset=preset, **known)
    if "method" in config.asked or loss.gradient_scale(num_classes) >= SLOW:
        return config
    return config.fitted(method="warmup", method_args={"share": WARM})


def is_depthwise(name: str) -> bool:
    """Whether a network of timm has convolutions of one channel each: CPUs run them in bfloat16 at half the speed."""
    if is_checkpoint_name(name):
        checkpoint = locate_checkpoint(name)
        if not checkpoint.is_timm:
            return False
        name = str(checkpoint.config["architecture"])
    with torch.device("meta"):
        network = timm.create_model(name)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    return any(layer.groups == layer.in_channels > 1 for layer in convolutions)
