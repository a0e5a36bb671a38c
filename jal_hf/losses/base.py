"""The base of every loss: what a subclass writes, what a caller asks, and its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

from jal_hf.losses.draws import DrawKey
from jal_hf.losses.inputs import (
    as_class_weight,
    at_least_something,
    autocast_off,
    flatten_logits,
    in_full_precision,
)
from jal_hf.losses.kernel_terms import KernelTerms
from jal_hf.losses.parameters import parameter_names, require_choice, require_integer
from jal_hf.losses.reduction import Reduction
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope
from jal_hf.losses.tolerance import Tolerance

REDUCTIONS = ("mean", "sum", "none")
LossConfig: TypeAlias = dict[str, Any]
"""A loss's name and parameters, or some of the parameters: JSON-ready arguments of `create_loss`."""

_TIED_TO_EQUATION: tuple[str, ...] = ("slope", "kernel_terms", "_rule", "floor")
_TIED_TO_EQUATION += ("symmetric", "approaches_vertex", "asymmetry_ratio", "smallest_a", "verdict")


class RobustLoss(Tolerance, Reduction):
    """A classification loss on logits. A subclass writes `equation`, the loss of each sample, and no more.

    One that writes `slope` too, its closed form, costs about as much as cross entropy. A subclass of a loss that
    writes another `equation` inherits nothing that was said of the first: slope, kernel, floor, theorems.

    Args:
        weight: K per-class weights; a mean then divides by the sum of the weights, as `F.cross_entropy` does.
        reduction: `mean`, `sum`, or `none` for the target's shape.
        ignore_index: labels of this value count nothing, neither in the sum nor in the mean's divisor.

    Shape:
        logits (N, K) or (N, K, d1, ...); target (N) or (N, d1, ...) class indices, or class probabilities t of
        the logits' shape, whose loss is the mean over the labels, sum_c t_c L(z, c). Half precision is taken to
        float32.
    """

    name: str
    """The registry name; that of the class where it is not registered."""
    parts: tuple[RobustLoss, ...] = ()
    """The losses that this one is a weighted sum of."""
    part_weights: tuple[float, ...] = ()
    """Their weights."""
    soft_targets: bool = True
    random: bool = False
    draw_key: DrawKey = DrawKey()
    preset_reason: str | None = None
    weight: Tensor | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__
        # What an ancestor says of its own equation is not true of another one.
        with_equation = next(place for place, base in enumerate(cls.__mro__) if "equation" in vars(base))
        for name in _TIED_TO_EQUATION:
            if not any(name in vars(base) for base in cls.__mro__[: with_equation + 1]):
                setattr(cls, name, getattr(RobustLoss, name))

    def __init__(
        self,
        *,
        weight: Tensor | Sequence[float] | None = None,
        reduction: str = "mean",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.reduction = require_choice(self.name, "reduction", reduction, REDUCTIONS)
        self.ignore_index = require_integer(self.name, "ignore_index", ignore_index)
        if weight is not None:
            weight = as_class_weight(weight, self.name)
        # No buffer: it is not part of a checkpoint, and `from_pretrained` would put an empty tensor in its place.
        self.weight = weight

    def equation(self, scores: Scores) -> Tensor:
        """The loss of each sample as a column (N, 1), or (N, K) for every label when `scores` has none."""
        raise TypeError(f"{type(self).__name__} must define `equation`, the loss of each sample.")

    slope: Callable[[Scores], Slope] | None = None
    """The loss of each sample and its derivative by log p, as one `Slope`; None where autograd finds it."""

    def kernel_terms(self) -> KernelTerms | None:
        """This loss as terms of the device's kernel, or None where it does not know them."""
        return None

    def floor(self, num_classes: int) -> float:
        """The smallest value the loss can take for one sample of K classes (0 where none is known)."""
        return 0.0

    def forward(self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The reduced loss: a scalar, or the target's shape for reduction `none`.

        A mean is weighted by `sample_weight` and by the class weights; an all-ignored batch gives zero.

        Raises:
            TypeError, ValueError: inputs that do not fit; a label outside [0, K) on CPU; class
                probabilities where the loss takes none, or whose rows do not sum to 1.
        """
        return self._reduce(logits, target, sample_weight, self.reduction)[0]

    def sum_and_weight(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(the weighted sum of the rows' losses, the sum of their weights): the mean is their quotient.

        Whatever `reduction` says. Both add up over the parts of a batch, so that a mean over accumulation steps
        or devices is exact. The weight is 0 when every row is ignored.
        """
        value, weight = self._reduce(logits, target, sample_weight, "sum")
        if weight is None:
            weight = torch.full_like(value.detach(), logits.numel() // logits.shape[1])
        return value, weight

    def gradient_scale(self, num_classes: int) -> float:
        """The norm of the gradient by the logits where the prediction is uniform, as times that of cross entropy.

        What a network that knows nothing yet learns from; 0.015 of 100 classes means steps 67 times as short. Class
        weights are left out.
        """
        # Where classes tie, the first is the argmax that some losses ask for: it counts as one of K labels.
        labels = torch.tensor([0, num_classes - 1])
        with torch.enable_grad(), self.drawing(0):
            logits = torch.zeros(2, num_classes, dtype=torch.float64, requires_grad=True)
            (gradient,) = torch.autograd.grad(self._column(logits, labels).sum(), logits)
        first, others = gradient.norm(dim=1).tolist()
        mean = (first + (num_classes - 1) * others) / num_classes
        return float(mean / math.sqrt(1.0 - 1.0 / num_classes))

    @contextmanager
    def drawing(self, step: int | Tensor, rows: Tensor | None = None) -> Iterator[None]:
        """Inside, what the loss draws is keyed by (its seed, step, row); most losses draw nothing and ignore it.

        Outside, each call that trains takes a step from torch's generator; without a gradient the step is 0.

        Args:
            step: the number of the training step, or a () int64 tensor that holds it.
            rows: an id for each row of the batch, (N,) int64, such as its index in the dataset; else its position.
        """
        drawing = [part for part in self.modules() if isinstance(part, RobustLoss)] if self.random else []
        before = [part.draw_key for part in drawing]
        for part in drawing:
            part.draw_key = DrawKey(torch.as_tensor(step), rows)
        try:
            yield
        finally:
            for part, key in zip(drawing, before, strict=True):
                part.draw_key = key

    def class_losses(self, logits: Tensor) -> Tensor:
        """The loss for every possible label: (N, K) logits give (N, K), column k being L(logits, k)."""
        with autocast_off(logits):
            return self.equation(Scores(in_full_precision(flatten_logits(logits)), None))

    @torch.no_grad()
    def components(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Mean values for logging: `loss`, the parts by name, and of each `..._excess` above a floor it has.

        All are means of the same rows with the same weights. Nothing is changed and no value goes to the host.
        """
        rows = flatten_logits(logits)
        with autocast_off(logits):
            shape = torch.Size((logits.shape[0], *logits.shape[2:]))
            targets = self._targets(rows, logits, target)
            targets, weights = self._row_weights(rows, targets, False, sample_weight, shape)
            scores = Scores(in_full_precision(rows), targets)
            counted = weights.sum()
            total = at_least_something(counted)
            # The mean over the rows of what their targets sum to: class weights stand in those of class probabilities.
            mass = counted if scores.soft is None else (scores.soft.sum(1) * weights).sum()
            found: dict[str, Tensor] = {}
            for name, loss in (("loss", self), *((part.name, part) for part in self.parts)):
                losses = scores.expected(loss.equation(scores)).squeeze(1)
                # Not by the weight alone: an ignored row may hold infinities.
                found[name] = torch.where(weights == 0, 0.0, losses * weights).sum() / total
                floor = loss.floor(rows.shape[1])
                if floor:
                    found[f"{name}_excess"] = found[name] - floor * (mass / total)
        return found

    def hyperparameters(self) -> LossConfig:
        """The loss's own parameters with their values, defaults included, by the names its constructor takes."""
        return {name: getattr(self, name) for name in parameter_names(type(self))}

    def config(self) -> LossConfig:
        """Everything `create_loss(**config)` needs to build this loss again, ready for JSON."""
        return {"name": self.name, **self.hyperparameters(), **self._common_config()}

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value!r}" for key, value in self.config().items())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RobustLoss:
        """As of every module; the class weights follow `.to(device)` too."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.weight is not None:
            self.weight = fn(self.weight)
        return self

    def _common_config(self) -> LossConfig:
        common: LossConfig = {"reduction": self.reduction, "ignore_index": self.ignore_index}
        if self.weight is not None:
            common["weight"] = self.weight.tolist()
        return common
