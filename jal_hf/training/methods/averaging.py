"""Averaged weights: for evaluation and export, or as a teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jal_hf.losses.inputs import in_full_precision
from jal_hf.training.methods.demands import require_within
from jal_hf.training.methods.method import Method
from jal_hf.training.methods.step_view import Setting


class AveragedWeights:
    """A running mean of a network's parameters and buffers; whole numbers among the buffers are copied.

    It is kept at least in float32: a step's share is below what half precision resolves.

    Args:
        decay: Share of the mean that stays in a step; in the first steps less, (1 + t) / (10 + t), so that the mean
            doesn't remember the random start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {
            name: (in_full_precision(value) if value.is_floating_point() else value).detach().clone()
            for name, value in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step number `step`, counted from 1."""
        share = 1.0 - min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        means = [(mean, current[name]) for name, mean in self.tensors.items() if mean.is_floating_point()]
        torch._foreach_lerp_(
            [mean for mean, _ in means], [value.to(mean.dtype) for mean, value in means], share
        )
        for name, mean in self.tensors.items():
            if not mean.is_floating_point():
                mean.copy_(current[name])

    def fitting(self, model: nn.Module) -> dict[str, Tensor]:
        """The means in the precision of the network's own weights."""
        return {name: self.tensors[name].to(value.dtype) for name, value in model.state_dict().items()}

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> dict[str, Tensor]:
        """Give the network the averaged weights; returns those it had."""
        current = model.state_dict()
        before = {name: value.clone() for name, value in current.items()}
        for name, value in current.items():
            value.copy_(self.tensors[name])
        return before

    @torch.no_grad()
    def load(self, method: str, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's means.

        Raises:
            ValueError: Means of another network, or none.
        """
        missing = sorted(set(self.tensors) ^ set(state))
        if missing:
            raise ValueError(
                f"Method {method!r} resumes averaged weights, and the checkpoint's do not fit the network (first "
                f"difference: {missing[0]}). Resume with the --method and --model that wrote it."
            )
        for name, mean in self.tensors.items():
            mean.copy_(state[name])


class Ema(Method):
    """Evaluate and export the running mean of the weights, batch-norm buffers included.

    The weights that are trained stay in the checkpoints, the mean beside them. When a training ends the mean takes
    their place in the network, and whatever the network holds from then on is what is evaluated.

    Args:
        decay: Share of the mean that stays in a step, in [0, 1).

    Reference:
        Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging".
    """

    name = "ema"
    averages_weights = True
    capturable = True  # type: ignore[assignment]  # nothing of it happens within a step

    def __init__(self, *, decay: float = 0.999) -> None:
        self.decay = require_within("ema", "decay", decay, 0.0, 0.999999)
        self._is_training = False

    def begin(self, setting: Setting) -> None:
        super().begin(setting)
        self.average = AveragedWeights(setting.model, self.decay)
        self._is_training = True

    def after_step(self, model: nn.Module, *, step: int) -> None:
        self.average.update(self.setting.model, step)

    @contextmanager
    def evaluated(self, model: nn.Module) -> Iterator[None]:
        if not self._is_training:
            yield
            return
        before = self.average.put_into(model)
        try:
            yield
        finally:
            model.load_state_dict(before)

    def end(self, model: nn.Module) -> None:
        self.average.put_into(model)
        self._is_training = False

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.average.tensors)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.average.load(self.name, state)
