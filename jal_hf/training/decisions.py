"""Loss, method and decay of a Trainer: decided from its arguments, and anew where these change, as in a search."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer

from jal_hf.losses import RobustLoss
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.criterion import decide_loss
from jal_hf.training.decays import DECAYS
from jal_hf.training.inputs import RawImages
from jal_hf.training.json_parameters import parse_json_object
from jal_hf.training.methods import Method, create_method
from jal_hf.training.methods.checkpointing import MethodCallback
from jal_hf.training.nonfinite import NonFiniteGuard

logger = logging.getLogger(__name__)

_DECISIONS = ("loss", "loss_args", "preset", "loss_scale", "method", "method_args", *DECAYS)
"""Arguments that loss, method and decay are decided from."""
_SEARCHED_ANEW = ("output_dir", "preset", "loss_args", "method_args", "loss_scale")
"""Arguments that each trial of a search begins with as they were given."""


class DecidedByArguments(Trainer):
    """The deciding part of `RobustTrainer`."""

    args: JALTrainingArguments
    model: Any
    criterion: RobustLoss
    method: Method
    loss_scale: float
    num_classes: int | None
    raw_images: RawImages
    guard: NonFiniteGuard
    _method_state: MethodCallback
    _noise: Any
    _classes: int | None = None

    def _ask(self, args: JALTrainingArguments, loss: Any, method: Any) -> None:
        """Note what the trainer was given: names are arguments, which may change before `train`; objects stay."""
        self._given_loss = None if isinstance(loss, str) else loss
        self._given_method = None if isinstance(method, str) else method
        args.loss = loss if isinstance(loss, str) else getattr(loss, "name", args.loss)
        args.method = method if isinstance(method, str) else getattr(method, "name", args.method)
        self._asked, self._searched = args.copied(), set[str]()

    def _decide(
        self,
        args: JALTrainingArguments,
        loss: RobustLoss | str | None,
        method: Method | str | None,
        model: nn.Module | None,
    ) -> None:
        """Settle loss, decay and method, by object or name; None takes those of the arguments."""
        # A search leaves no model behind, where each trial made one: the classes are those of the one before.
        classes = getattr(getattr(model, "config", None), "num_labels", self.num_classes) or self._classes
        self._classes = classes
        choice = decide_loss(loss, args, num_classes=classes, noise=self._noise)
        # Class weights lie beside the logits: a step that is captured copies nothing to the device.
        self.criterion = choice.criterion.to(args.device)
        self.loss_scale = 1.0
        if args.loss_scale == "gradient":
            if classes is None:
                raise ValueError(
                    "loss_scale 'gradient' needs the number of classes, and the model tells none; give the trainer "
                    "num_classes, or leave it out."
                )
            self.loss_scale = self.criterion.gradient_scale(int(classes))
        self.method = (
            method
            if isinstance(method, Method)
            else create_method(method or args.method, parse_json_object("method_args", args.method_args))
        )
        decays = {"weight_decay": choice.weight_decay, "l1_weight_decay": choice.l1_weight_decay}
        self._brought_decays = {name: decays[name] for name in args.unasked_decays}
        for name, decay in decays.items():
            setattr(args, name, decay)
        self._decided_from = {name: deepcopy(getattr(args, name)) for name in _DECISIONS}

    def _decide_anew(self) -> None:
        """Settle loss, decay and method once more where their arguments have changed; objects that were given stay."""
        args = self.args
        if all(getattr(args, name) == value for name, value in self._decided_from.items()):
            return
        for name, brought in self._brought_decays.items():
            if getattr(args, name) is brought:  # nobody has asked for one since
                setattr(args, name, getattr(self._asked, name))
        objects: dict[str, Any] = {"loss": self._given_loss, "method": self._given_method}
        for name, given in objects.items():
            value = getattr(args, name)
            if given is None or value == getattr(self._asked, name):
                continue
            if name in self._searched:  # trials were trained with what they drew, and this is one of them
                objects[name] = None
            else:
                logger.warning("args.%s %r is left aside: the trainer was given an object.", name, value)
        self._take(objects["loss"], objects["method"])

    def _take(self, loss: RobustLoss | str | None, method: Method | str | None) -> None:
        """Settle loss, decay and method by the trainer's arguments, for all who hold them."""
        self._decide(self.args, loss, method, self.model)
        self.guard.criterion, self._method_state.method = self.criterion, self.method
        if self.raw_images.ignore_index is not None:
            self.raw_images = replace(self.raw_images, ignore_index=self.criterion.ignore_index)

    def hyperparameter_search(self, *arguments: Any, **options: Any) -> Any:
        """As the parent's, over loss, method and their parameters too; each trial has a folder of its own."""
        self._decide_anew()
        for name in set(_DECISIONS) - set(self._brought_decays):
            setattr(self._asked, name, deepcopy(getattr(self.args, name)))
        try:
            return super().hyperparameter_search(*arguments, **options)
        finally:
            # What the last trial left; `train` begins with what was asked for, or set since.
            for name in ("output_dir", *_DECISIONS):
                setattr(self.args, name, deepcopy(getattr(self._asked, name)))
            self._take(self._given_loss, self._given_method)

    def _hp_search_setup(self, trial: Any) -> None:
        """As the parent's, which sets what was searched; no public method lets loss and method follow from it."""
        if self.hp_search_backend is None or trial is None:
            super()._hp_search_setup(trial)
            return
        for name in _SEARCHED_ANEW:
            setattr(self.args, name, deepcopy(getattr(self._asked, name)))
        for name in ("loss", "method", *DECAYS):  # None shows what a trial leaves alone
            setattr(self.args, name, None)
        super()._hp_search_setup(trial)
        for name in DECAYS:
            if getattr(self.args, name) is None:
                setattr(self.args, name, getattr(self._asked, name))
        self._searched |= {name for name in ("loss", "method") if getattr(self.args, name) is not None}
        loss, method = self.args.loss or self._given_loss, self.args.method or self._given_method
        self.args.loss, self.args.method = (
            self.args.loss or self._asked.loss,
            self.args.method or self._asked.method,
        )
        self._take(loss, method)
        self.args.output_dir = super()._get_output_dir(trial)
        if self.args.should_save:
            Path(self.args.output_dir).mkdir(parents=True, exist_ok=True)

    def _get_output_dir(self, trial: Any) -> str:
        """As the parent's; of a trial it is the `output_dir` that callbacks and methods see, too."""
        return str(self.args.output_dir)
