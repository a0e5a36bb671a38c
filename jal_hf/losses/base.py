"""The base of every loss: shapes, dtypes, ignored rows, weights and reduction, handled once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from jal_hf.losses import on_device
from jal_hf.losses.closed_form import JointTerms
from jal_hf.losses.fused import BLOCK, Rule, one_pass, reduced
from jal_hf.losses.inputs import (
    all_labels_valid,
    as_labels,
    flatten_logits,
    flatten_sample_weight,
    in_full_precision,
    is_soft,
)
from jal_hf.losses.parameters import require_choice
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, value_and_gradient

REDUCTIONS = ("mean", "sum", "none")
_NOTHING = nullcontext()
COMMON_PARAMETERS = ("weight", "reduction", "ignore_index")


class RobustLoss(nn.Module):
    """A classification loss on logits. A subclass writes `equation`, the loss of each sample, and no more.

    One that writes `slope` too, its closed form, costs about as much as cross entropy.

    Args:
        weight: K per-class weights; a mean then divides by the sum of the weights, as `F.cross_entropy` does.
        reduction: `mean`, `sum`, or `none` for the target's shape.
        ignore_index: labels of this value count nothing, neither in the sum nor in the mean's divisor.

    Shape:
        logits (N, K) or (N, K, d1, ...); target (N) or (N, d1, ...) class indices, or, where the formula is
        linear in the label, class probabilities of the logits' shape. Half precision is taken to float32.
    """

    name: ClassVar[str] = ""
    linear_in_label: bool = True
    random: bool = False
    preset_reason: str | None = None
    weight: Tensor | None

    def __init__(
        self,
        *,
        weight: Tensor | Sequence[float] | None = None,
        reduction: str = "mean",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.reduction = require_choice(self.label, "reduction", reduction, REDUCTIONS)
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
            raise TypeError(f"{self.label}: ignore_index must be an integer, but {ignore_index!r} was given.")
        self.ignore_index = ignore_index
        if weight is not None:
            weight = torch.as_tensor(weight, dtype=torch.get_default_dtype()).detach().clone()
            if weight.dim() != 1 or not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()):
                raise ValueError(
                    f"{self.label}: weight must be a list of K finite numbers of at least 0, one per class, "
                    f"but a tensor of shape {tuple(weight.shape)} was given."
                )
        # Not part of a checkpoint, but it follows .to(device).
        self.register_buffer("weight", weight, persistent=False)

    @property
    def label(self) -> str:
        """The registry name, as error messages give it."""
        return self.name or type(self).__name__

    def equation(self, scores: Scores) -> Tensor:
        """The loss of each sample as a column (N, 1), or (N, K) for every label when `scores` has none."""
        raise TypeError(f"{type(self).__name__} must define `equation`, the loss of each sample.")

    slope: Callable[[Scores], Slope] | None = None
    """The loss of each sample and its derivative by log p, as one `Slope`; None where autograd finds it."""

    def closed_form(self) -> JointTerms | None:
        """This loss as terms of the kernels of the JAL family, or None where they do not cover it."""
        return None

    def floor(self, num_classes: int) -> float:
        """The smallest value the loss can take for one sample of K classes (0 where none is known)."""
        return 0.0

    def forward(self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The reduced loss: a scalar, or the target's shape for reduction `none`.

        A mean is weighted by `sample_weight` and by the class weights; an all-ignored batch gives zero.

        Raises:
            TypeError, ValueError: inputs that do not fit; a label outside [0, K) on CPU; soft targets where
                the formula is not linear in the label.
        """
        return self._reduce(logits, target, sample_weight, self.reduction)[0]

    def total(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(weighted sum of the losses, normaliser): mean = sum / normaliser, whatever `reduction` says.

        Sums and normalisers of parts of a batch add up to those of the whole, so the mean over accumulation
        steps or devices is exact. The normaliser is 0 when every row is ignored.
        """
        value, normaliser = self._reduce(logits, target, sample_weight, "sum")
        if normaliser is None:
            normaliser = torch.full_like(value.detach(), target.numel())
        return value, normaliser

    def class_losses(self, logits: Tensor) -> Tensor:
        """The loss for every possible label: (N, K) logits give (N, K), column k being L(logits, k)."""
        with _autocast_off(logits):
            return self.equation(Scores(in_full_precision(flatten_logits(logits)), None))

    @torch.no_grad()
    def components(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Mean values for logging, without gradient: `loss`, and `loss_excess` above the floor if there is one."""
        total, normaliser = self.total(logits, target)
        value = total / _at_least_something(normaliser)
        parts = {"loss": value}
        floor = self.floor(logits.shape[1])
        if floor:
            parts["loss_excess"] = value - floor
        return parts

    def parameters_given(self) -> dict[str, Any]:
        """The loss's own parameters and their values, by the names its constructor takes."""
        return {name: getattr(self, name) for name in parameter_names(type(self))}

    def config(self) -> dict[str, Any]:
        """Everything `create_loss(**config)` needs to build this loss again, ready for JSON."""
        return {"name": self.name, **self.parameters_given(), **self._common_config()}

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value!r}" for key, value in self.config().items())

    def _common_config(self) -> dict[str, Any]:
        common: dict[str, Any] = {"reduction": self.reduction, "ignore_index": self.ignore_index}
        if self.weight is not None:
            common["weight"] = self.weight.tolist()
        return common

    def _reduce(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None, reduction: str
    ) -> tuple[Tensor, Tensor | None]:
        """(the loss under a reduction, the sum of the rows' weights; None when each row counts 1)."""
        rows = flatten_logits(logits)
        soft = is_soft(logits, target)
        class_weight = self.weight
        if class_weight is not None and class_weight.shape[0] != rows.shape[1]:
            raise ValueError(
                f"{self.label}: weight has {class_weight.shape[0]} entries, but the logits have "
                f"{rows.shape[1]} classes."
            )
        with _autocast_off(logits):
            weights: Tensor | None = None
            if soft:
                shape = torch.Size((logits.shape[0], *logits.shape[2:]))
                losses = self._soft_losses(in_full_precision(rows), flatten_logits(target))
            else:
                shape = target.shape
                labels = as_labels(target)
                terms = self._kernel_terms(rows)
                if terms is not None and class_weight is None and sample_weight is None:
                    value, count = on_device.one_kernel(
                        rows, labels, terms, self.ignore_index, reduction, self._column
                    )
                    return (value.reshape(shape) if reduction == "none" else value), count
                all_counted = all_labels_valid(labels, rows.shape[1], self.ignore_index)
                if all_counted and class_weight is None and sample_weight is None:
                    value = self._losses(rows, labels, reduction)
                    return (value.reshape(shape) if reduction == "none" else value), None
                losses, weights = self._weighted_losses(rows, labels, all_counted)
            if sample_weight is not None:
                given = flatten_sample_weight(sample_weight, shape, losses)
                weights = given if weights is None else weights * given
            if weights is None:
                weights = torch.ones_like(losses)
            losses = losses * weights
            if reduction == "none":
                return losses.reshape(shape), weights.sum()
            normaliser = weights.sum()
            total = losses.sum()
            return (total / _at_least_something(normaliser) if reduction == "mean" else total), normaliser

    def _weighted_losses(
        self, logits: Tensor, labels: Tensor, all_counted: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Losses (M,) and the weights that ignored rows and classes give them (None: all 1)."""
        weights: Tensor | None = None
        if all_counted:
            losses = self._losses(logits, labels, "none")
        else:
            counted = labels != self.ignore_index
            labels = torch.where(counted, labels, 0)
            losses = self._losses(logits, labels, "none")
            # Not by the weight alone: an ignored row may hold infinities.
            losses = torch.where(counted, losses, 0.0)
            weights = counted.to(losses.dtype)
        if self.weight is not None:
            class_weights = self.weight.to(losses.dtype)[labels]
            weights = class_weights if weights is None else weights * class_weights
        return losses, weights

    def _losses(self, logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        """The losses (M,) of valid labels, or their sum or mean."""
        terms = self._kernel_terms(logits)
        if terms is not None:
            return on_device.one_kernel(logits, labels, terms, self.ignore_index, reduction, self._column)[0]
        if logits.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            rule = self._rule(logits)
            if rule is not None:
                return one_pass(logits, labels, rule, reduction)
        return reduced(self._column(logits, labels), reduction)

    def _column(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.equation(Scores(in_full_precision(logits), labels))

    def _rule(self, logits: Tensor) -> Rule | None:
        """How to find loss and gradient together, where that is faster than autograd's graph."""
        if self.slope is not None:
            return Rule(value_and_gradient, self.slope, self._column)
        if not self.random and logits.device.type == "cpu" and logits.numel() > BLOCK:
            return Rule(_by_autograd, self.equation, self._column)
        return None

    def _kernel_terms(self, logits: Tensor) -> JointTerms | None:
        """The terms of the device's own kernel, where it takes these logits and a gradient is wanted."""
        if torch.compiler.is_compiling() or not (logits.requires_grad and torch.is_grad_enabled()):
            return None
        return self.closed_form() if on_device.covers(logits) else None

    def _soft_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        if not self.linear_in_label:
            raise ValueError(
                f"{self.label} is not linear in the label, so soft targets have no agreed meaning for it. "
                "Give class indices; for mixed labels, mix the losses of the two labels."
            )
        per_class = self.equation(Scores(logits, None))
        if self.weight is not None:
            per_class = per_class * self.weight.to(per_class.dtype)
        return (per_class * target.to(per_class.dtype)).sum(1)


def parameter_names(cls: type[RobustLoss]) -> tuple[str, ...]:
    """The names of a loss class's own constructor parameters, without the common ones."""
    signature = inspect.signature(cls.__init__)
    return tuple(
        name
        for name, parameter in signature.parameters.items()
        if name not in ("self", *COMMON_PARAMETERS)
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    )


def _autocast_off(logits: Tensor) -> Any:
    device = "cpu" if logits.is_cpu else logits.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else _NOTHING


def _at_least_something(normaliser: Tensor) -> Tensor:
    """The normaliser, or 1 where it is 0: a batch without counted rows then has a mean of 0, not NaN."""
    return torch.where(normaliser == 0, torch.ones_like(normaliser), normaliser)


def _by_autograd(
    logits: Tensor, labels: Tensor, equation: Callable[[Scores], Tensor]
) -> tuple[Tensor, Tensor]:
    """(losses, gradient) of a few rows, whose graph is thrown away at once."""
    with torch.enable_grad():
        rows = logits.detach().requires_grad_()
        losses = equation(Scores(rows, labels))
        (gradient,) = torch.autograd.grad(losses.sum(), rows)
    return losses.detach(), gradient
