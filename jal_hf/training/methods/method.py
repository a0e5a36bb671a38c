"""What a training method may do in a step; the base class does nothing, and is the method `plain`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jal_hf.data.transfer import to_device
from jal_hf.losses import RobustLoss
from jal_hf.training.methods.batch import Batch, RowKeys, row_keys
from jal_hf.training.methods.step_view import Setting, StepView

Parameters = dict[str, Any]
"""A method's parameters by name, ready for JSON."""
Draws = npt.NDArray[np.float64]
Phase = tuple[Any, ...]
_STEP_HOOKS = ("change_batch", "after_forward", "targets", "row_weights", "terms")


class Method:
    """A training method. Each hook leaves things as they are unless a subclass says otherwise.

    Sums over rows that `terms` returns are divided as the loss's own sum is, so that a step depends on the global
    batch alone, however it is split. What a hook learns of a micro-batch it may use from the next step on, after
    `after_step` has brought the processes together; of its own rows at once.
    """

    name: str = "plain"
    averages_weights: ClassVar[bool] = False
    """Whether it keeps a second copy of the weights, which must be whole on each device."""
    setting: Setting

    @property
    def capturable(self) -> bool:
        """Whether its hooks work on tensors alone, so that a step with them can be recorded and replayed.

        So where it has none, as averages of weights, which work after the step. Any other may say `capturable = True`
        if its hooks read no value back, keep their state in place, and learn of `step`, `epoch` and `progress` through
        `draws`, `rates` and `phase` alone.
        """
        return all(getattr(type(self), hook) is getattr(Method, hook) for hook in _STEP_HOOKS)

    def check(self, criterion: RobustLoss, *, is_stream: bool) -> None:
        """Called before any data is read, and again by `begin`.

        Args:
            criterion: The loss.
            is_stream: Whether the training set has no fixed rows.

        Raises:
            ValueError: A loss or data that this method cannot work with.
        """

    def begin(self, setting: Setting) -> None:
        """Called once before the first step, or before a checkpoint's state is loaded.

        Raises:
            ValueError: A training that this method cannot work in.
        """
        self.check(setting.criterion, is_stream=setting.rows is None)
        self.setting = setting

    def draws(self, rows: RowKeys, *, step: int) -> dict[str, Draws]:
        """Random numbers of a batch's rows for `change_batch`, under the method's name, made on the host.

        Args:
            rows: Keys of the rows, (N,).
            step: Optimizer steps done before this one.
        """
        return {}

    def rates(self, progress: float) -> dict[str, float]:
        """Numbers that change from step to step, by names that begin with the method's."""
        return {}

    def phase(self, progress: float) -> Phase:
        """What tells apart the parts of a training in which the hooks do different things."""
        return ()

    def drawn(self, batch: Batch, *, step: int) -> Tensor:
        """The method's own draws (N, D) float64 for a batch, on its device."""
        given = batch.get("draws")
        if given is not None:
            found: Tensor = given[self.name]
            return found
        made = self.draws(row_keys(batch), step=step)[self.name]
        return to_device(torch.from_numpy(made), batch["labels"].device)

    def rate(self, view: StepView, name: str) -> Tensor | float:
        """One of the method's rates for a step: a float, or the same number as a scalar on the device."""
        full = f"{self.name}.{name}"
        return view.rates[full] if full in view.rates else self.rates(view.progress)[full]

    def change_batch(self, batch: Batch, *, step: int, epoch: float) -> Batch:
        """The batch that is trained on in place of this one."""
        return batch

    def after_forward(self, view: StepView) -> StepView:
        """The view whose logits the loss is given: one row of logits for each label."""
        return view

    def targets(self, view: StepView) -> Tensor:
        """Labels, or class probabilities, for the loss."""
        return view.targets

    def row_weights(self, view: StepView) -> Tensor | None:
        """Weights of the rows (N,), or None where each counts 1."""
        return view.sample_weight

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        """Further terms of the training loss by name, each a sum over the rows times `view.weights_of_terms()`."""
        return {}

    def after_step(self, model: nn.Module, *, step: int) -> None:
        """Called after each optimizer step; `step` counts it."""

    @contextmanager
    def evaluated(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model has the weights that are evaluated and exported."""
        yield

    def end(self, model: nn.Module) -> None:
        """Called after the last step and its checkpoint: leave the weights in the model that are exported."""

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold so that a resumed run goes on exactly; tensors by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: State of another method, or of other data.
        """
        self.refuse_others(state)

    def refuse_others(self, state: Mapping[str, Tensor], *own: str) -> None:
        """Refuse state by other names than the method's own.

        Raises:
            ValueError: There is some.
        """
        others = sorted(set(state) - set(own))
        if others:
            raise ValueError(
                f"The checkpoint holds state of a training method ({', '.join(others[:3])}) that {self.name!r} doesn't "
                "keep. Resume with the --method that wrote it."
            )

    def parameters(self) -> Parameters:
        """The method's parameters and their values, by the names that `create_method` takes."""
        return {name.rstrip("_"): getattr(self, name) for name in parameter_names(type(self))}

    def config(self) -> Parameters:
        """Name and parameters, for the record: `create_method(config["name"], config["params"])` builds it again."""
        return {"name": self.name, "params": self.parameters()}


def parameter_names(method: type[Method]) -> tuple[str, ...]:
    """Names of the constructor's parameters."""
    return tuple(name for name in inspect.signature(method).parameters if name not in ("args", "kwargs"))


def for_the_loss(method: Method, view: StepView) -> tuple[StepView, Tensor | None]:
    """(the view with the method's targets, the weights of its rows) that the loss is given."""
    view = method.after_forward(view)
    view = replace(view, targets=method.targets(view))
    if view.targets.is_floating_point() and not view.labels.is_floating_point():
        # Class probabilities cannot say that a label is ignored; a weight can.
        view = replace(view, sample_weight=view.counted())
    return view, method.row_weights(view)
