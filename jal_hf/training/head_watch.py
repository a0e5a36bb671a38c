"""Whether a loss moves the classifier at all: a bounded loss of many classes may be too flat for its learning rate."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jal_hf.models.head import last_layers

logger = logging.getLogger(__name__)

STEPS = 100
LEAST_MOVE = 0.1
"""Logits that moved by less, with every class starting alike, leave the prediction within 10 % of where it was."""


class HeadWatch(TrainerCallback):
    """Says after the first hundred steps when the classifier's logits can hardly have moved.

    The most that a logit can have moved by is |change of its weights| * |input of the layer|; the mean over classes is
    looked at. Of a classifier whose weights are used without calling it nothing is said. `warnings` holds what was
    said.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._layer: nn.Linear | None = None
        self._start: Tensor | None = None
        self._length: float | None = None
        self._hook: RemovableHandle | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        self._forget()
        layer = _classifier(model) if model is not None and state.global_step == 0 else None
        if layer is not None and layer.weight.numel():
            self._layer, self._start = layer, layer.weight.detach().clone()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._layer is None or self._start is None:
            return
        if state.global_step == STEPS - 1:
            self._hook = self._layer.register_forward_pre_hook(self._see, with_kwargs=True)
        elif state.global_step == STEPS:
            change, length = (self._layer.weight.detach() - self._start).norm(dim=1).mean(), self._length
            self._forget()
            if length is not None and change.item() * length < LEAST_MOVE:
                self._warn(change.item() * length)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._forget()

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        given = (inputs[0] if inputs else named["input"]).detach().float()
        self._length = float(given.reshape(-1, given.shape[-1]).norm(dim=1).mean())

    def _forget(self) -> None:
        """Leave nothing on the network."""
        if self._hook is not None:
            self._hook.remove()
        self._layer = self._start = self._length = self._hook = None

    def _warn(self, moved: float) -> None:
        sentence = (
            f"After {STEPS} steps the logits can have moved by {moved:.2g} at most: the loss is too flat for this "
            "learning rate. Use --optim adamw_torch, --loss_scale gradient, or a higher --learning_rate."
        )
        self.warnings.append(sentence)
        logger.warning(sentence)


def _classifier(model: nn.Module) -> nn.Linear | None:
    try:
        layers = last_layers(model)
    except ValueError:
        return None
    is_usable = len(layers) == 1 and isinstance(layers[0], nn.Linear) and layers[0].weight.requires_grad
    return layers[0] if is_usable and isinstance(layers[0], nn.Linear) else None
