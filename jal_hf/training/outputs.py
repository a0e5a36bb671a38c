"""What a network takes of a batch, and what it gives: its logits before everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers.utils import ModelOutput

from jal_hf.models.channels import channels_last
from jal_hf.training.criterion import logits_of
from jal_hf.training.methods.batch import BATCH_EXTRAS, Batch


def model_outputs(model: nn.Module, inputs: Batch, with_layout: bool | None) -> Any:
    """The model's output for a batch, without the fields that only the loss takes."""
    features = {key: value for key, value in inputs.items() if key not in BATCH_EXTRAS}
    if "pixel_values" not in features:
        return model(**features)
    pixels = features.pop("pixel_values")
    return model(channels_last(pixels) if with_layout else pixels, **features)


def main_input_name(inputs: Batch) -> str:
    """The field of a batch that a network reads first of all: images, tokens, else the first that is given to it."""
    named = ("pixel_values", "input_ids", *inputs)
    return next(name for name in named if name in inputs and name not in BATCH_EXTRAS)


def logits_first(outputs: Any) -> Any:
    """A model's output whose logits come first, where the Trainer makes a tuple of it and metrics take its first.

    Anything but a mapping with `logits` comes back itself; entries that are None are left out.
    """
    if not isinstance(outputs, Mapping) or "logits" not in outputs:
        return outputs
    if isinstance(outputs, ModelOutput):  # whose kind tells the layout of its logits
        outputs.move_to_end("logits", last=False)
        return outputs
    rest = {name: value for name, value in outputs.items() if name != "logits" and value is not None}
    return {"logits": outputs["logits"], **rest}


def as_mapping(outputs: Any) -> Any:
    """A model's output as a mapping that begins with its logits; one that has none comes back itself."""
    return logits_first(outputs) if isinstance(outputs, Mapping) else {"logits": logits_of(outputs)}


@contextmanager
def giving_logits_first(model: nn.Module) -> Iterator[None]:
    """Inside, a model's output begins with its logits, whoever calls it."""
    handle = model.register_forward_hook(lambda module, inputs, output: logits_first(output))
    try:
        yield
    finally:
        handle.remove()
