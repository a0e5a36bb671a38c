"""What a training method may do in a step; the base class does nothing, and is the method `plain`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jal_hf.data.transfer import to_device
from jal_hf.losses import RobustLoss
from jal_hf.losses.inputs import in_full_precision

Batch = dict[str, Any]
"""Tensors by name: `pixel_values` or a tokenizer's fields, `labels`, and `index`, `clean_label`, `sample_weight`."""
BATCH_EXTRAS = frozenset({"clean_label", "index", "sample_weight", "labels", "mixing", "draws", "rates"})
"""Fields of a batch that serve the loss, a method or the record, and never reach the model."""
Parameters = dict[str, Any]
"""A method's parameters by name, ready for JSON."""
RowKeys = npt.NDArray[np.int64]
"""What keys the draws of a batch's rows: their `index`, or their places where there is none."""
Draws = npt.NDArray[np.float64]
Phase = tuple[Any, ...]


_SHORT = (torch.uint8, torch.int8, torch.int16, torch.int32)
_STEP_HOOKS = ("change_batch", "after_forward", "targets", "row_weights", "terms")


def _same(value: Tensor) -> Tensor:
    return value


@dataclass(frozen=True)
class Setting:
    """What a method knows of a training before its first step.

    Attributes:
        model: The network, as nothing wraps it.
        criterion: The loss.
        seed: Key of every draw.
        num_classes: K, or None where neither the model nor the loss says it before the first batch.
        rows: Rows of the training set, or None for a stream.
        row_ids: The batches' `index` of all rows (rows,), or None where they are 0, 1, ..., rows - 1.
        device: Where the network is trained.
        processes: How many train side by side.
        summed: Adds a tensor over the processes.
        gathered: Puts the processes' tensors of equal shape under each other.
        say: Told a sentence that the user should read.
    """

    model: nn.Module
    criterion: RobustLoss
    seed: int = 0
    num_classes: int | None = None
    rows: int | None = None
    row_ids: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    processes: int = 1
    summed: Callable[[Tensor], Tensor] = _same
    gathered: Callable[[Tensor], Tensor] = _same
    say: Callable[[str], None] = print


@dataclass(frozen=True)
class StepView:
    """One micro-batch of a training step, as a method sees it after the forward pass.

    Attributes:
        logits: (N, K) or (N, K, d1, ...), with gradient.
        labels: As the batch gives them, (N, ...) int64, or class probabilities of the logits' shape.
        targets: What the loss is given: the labels, unless a method puts others in their place.
        index: Row numbers (N,), or None where the data has none.
        sample_weight: Weights of the rows (N,), or None.
        model: The network, in training mode.
        batch: The batch that went in.
        step: Optimizer steps done before this one.
        progress: Share of the training that is done, in [0, 1].
        ignore_index: The label that counts nothing.
        class_weight: Weights of the classes in the loss (K,), or None where each counts 1.
        loss_scale: What the loss and all terms will be divided by.
        second: Logits of the second view of the same rows, where a method makes one.
        rates: What `Method.rates` gives for this step, where it lies on the device already.
    """

    logits: Tensor
    labels: Tensor
    index: Tensor | None
    sample_weight: Tensor | None
    model: nn.Module
    batch: Mapping[str, Any]
    step: int
    progress: float
    targets: Tensor
    ignore_index: int = -100
    class_weight: Tensor | None = None
    loss_scale: float = 1.0
    second: Tensor | None = None
    rates: Mapping[str, Tensor] = field(default_factory=dict)

    def counted(self) -> Tensor:
        """The weight of each label, (N) or (N, d1, ...) float: 0 where it is ignored."""
        if self.labels.is_floating_point():
            counted = torch.ones_like(self.logits.detach()[:, 0], dtype=torch.float32)
        else:
            counted = (self.labels != self.ignore_index).float()
        if self.sample_weight is None:
            return counted
        weight = self.sample_weight
        return counted * weight.reshape(weight.shape + (1,) * (counted.dim() - weight.dim()))

    def weights_of_terms(self) -> Tensor:
        """What each label counts in a term beside the loss, of the shape of `counted`: its class's weight as well.

        Class probabilities bring none, as in the loss's own mean.
        """
        counted = self.counted()
        if self.class_weight is None or self.labels.is_floating_point():
            return counted
        weight = self.class_weight.to(counted)
        return counted * weight[self.labels.clamp(0, len(weight) - 1)]

    def probabilities(self) -> Tensor:
        """Class probabilities of the logits' shape, at least float32, with gradient."""
        return in_full_precision(self.logits).softmax(dim=1)

    def label_probabilities(self) -> Tensor:
        """The targets as float class probabilities of the logits' shape; an ignored label counts as class 0."""
        if self.targets.is_floating_point():
            return self.targets
        hard = self.targets.masked_fill(self.targets == self.ignore_index, 0)
        # functional.one_hot reads the largest label back.
        empty = torch.zeros_like(self.logits, dtype=torch.float32, requires_grad=False)
        return empty.scatter_(1, hard.unsqueeze(1), 1.0)


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


def row_keys(batch: Batch) -> RowKeys:
    """The keys of a batch's rows (N,), on the host."""
    index = batch.get("index")
    found: RowKeys = np.arange(len(batch["labels"])) if index is None else index.cpu().numpy()
    return found


def with_long_numbers(batch: Batch) -> Batch:
    """The batch with class labels and row numbers in int64, the type by which tensors are indexed."""
    short = {
        name: batch[name].long()
        for name in ("labels", "index")
        if isinstance(batch.get(name), Tensor) and batch[name].dtype in _SHORT
    }
    return {**batch, **short} if short else batch


def for_the_loss(method: Method, view: StepView) -> tuple[StepView, Tensor | None]:
    """(the view with the method's targets, the weights of its rows) that the loss is given."""
    view = method.after_forward(view)
    view = replace(view, targets=method.targets(view))
    if view.targets.is_floating_point() and not view.labels.is_floating_point():
        # Class probabilities cannot say that a label is ignored; a weight can.
        view = replace(view, sample_weight=view.counted())
    return view, method.row_weights(view)
