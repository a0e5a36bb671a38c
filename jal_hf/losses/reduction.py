"""From a batch to one number: targets, the rows' weights, ignored rows, and the fastest way that is exact."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from jal_hf.losses import on_device
from jal_hf.losses.fused import BLOCK, Rule, one_pass, reduced
from jal_hf.losses.inputs import (
    all_labels_valid,
    as_labels,
    at_least_something,
    autocast_off,
    check_class_probabilities,
    flatten_logits,
    flatten_sample_weight,
    in_full_precision,
    is_soft,
    is_traced,
)
from jal_hf.losses.kernel_terms import KernelTerms
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, by_autograd, value_and_gradient


class Reduction(nn.Module):
    """The half of `RobustLoss` that weighs rows and sums them; the other half is the equation of each."""

    name: str
    soft_targets: bool
    random: bool
    ignore_index: int
    weight: Tensor | None
    equation: Callable[[Scores], Tensor]
    slope: Callable[[Scores], Slope] | None
    kernel_terms: Callable[[], KernelTerms | None]

    def _reduce(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None, reduction: str
    ) -> tuple[Tensor, Tensor | None]:
        """(the loss under a reduction, the sum of the rows' weights; None when each row counts 1)."""
        rows = flatten_logits(logits)
        shape = torch.Size((logits.shape[0], *logits.shape[2:]))
        with autocast_off(logits):
            targets = self._targets(rows, logits, target)
            soft, alike = targets.is_floating_point(), self.weight is None and sample_weight is None
            if soft:
                check_class_probabilities(flatten_logits(target), sample_weight, logits)
            terms = None if soft or not alike else self._kernel_terms(rows)
            if terms is not None:
                value, count = on_device.one_kernel(
                    rows, targets, terms, self.ignore_index, reduction, self._column
                )
                return (value.reshape(shape) if reduction == "none" else value), count
            all_counted = soft or all_labels_valid(targets, rows.shape[1], self.ignore_index)
            if all_counted and alike:
                value = self._losses(rows, targets, reduction)
                return (value.reshape(shape) if reduction == "none" else value), None
            targets, weights = self._row_weights(rows, targets, all_counted, sample_weight, shape)
            # Not by the weight alone: an ignored row may hold infinities.
            losses = torch.where(weights == 0, 0.0, self._losses(rows, targets, "none") * weights)
            if reduction == "none":
                return losses.reshape(shape), weights.sum()
            total, normaliser = losses.sum(), weights.sum()
            return (total / at_least_something(normaliser) if reduction == "mean" else total), normaliser

    def _targets(self, rows: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """Class indices (M,), or class probabilities (M, K) times the class weights."""
        if self.weight is not None and self.weight.shape[0] != rows.shape[1]:
            raise ValueError(
                f"{self.name}: weight has {self.weight.shape[0]} entries, but the logits have "
                f"{rows.shape[1]} classes."
            )
        if not is_soft(logits, target):
            return as_labels(target)
        if not self.soft_targets:
            raise ValueError(
                f"{self.name} takes no class probabilities: their mean over the labels has no closed form there. "
                "Give class indices; for mixed labels, mix the losses of the two labels."
            )
        soft = flatten_logits(target).to(in_full_precision(rows[:0]).dtype)
        return soft if self.weight is None else soft * self.weight.to(soft)

    def _row_weights(
        self,
        rows: Tensor,
        targets: Tensor,
        all_counted: bool,
        sample_weight: Tensor | None,
        shape: torch.Size,
    ) -> tuple[Tensor, Tensor]:
        """(targets that are all valid, the weight (M,) of each row: 0 where it is ignored)."""
        weights = torch.ones(rows.shape[0], dtype=in_full_precision(rows[:0]).dtype, device=rows.device)
        if not targets.is_floating_point():
            if not all_counted:
                counted = targets != self.ignore_index
                targets, weights = torch.where(counted, targets, 0), counted.to(weights.dtype)
            if self.weight is not None:
                weights = weights * self.weight.to(weights)[targets]
        if sample_weight is not None:
            weights = weights * flatten_sample_weight(sample_weight, shape, weights)
        return targets, weights

    def _losses(self, logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
        """The losses (M,) of valid labels or class probabilities, or their sum or mean."""
        terms = None if targets.is_floating_point() else self._kernel_terms(logits)
        if terms is not None:
            return on_device.one_kernel(logits, targets, terms, self.ignore_index, reduction, self._column)[0]
        if logits.requires_grad and torch.is_grad_enabled() and not is_traced():
            # A gradient by the class probabilities is autograd's affair.
            rule = None if targets.requires_grad else self._rule(logits)
            if rule is not None:
                return one_pass(logits, targets, rule, reduction)
        return reduced(self._column(logits, targets), reduction)

    def _column(self, logits: Tensor, targets: Tensor) -> Tensor:
        scores = Scores(in_full_precision(logits), targets)
        return scores.expected(self.equation(scores))

    def _rule(self, logits: Tensor) -> Rule | None:
        """How to find loss and gradient together, where that is faster than autograd's graph."""
        slope = self.slope
        if slope is not None:
            return Rule(value_and_gradient, slope, self._column)
        if (
            not self.random
            and logits.device.type == "cpu"
            and logits.numel() > BLOCK
            and not self._learns(logits)
        ):
            return Rule(by_autograd, self.equation, self._column)
        return None

    def _learns(self, logits: Tensor) -> bool:
        """Whether gradients go to tensors of the loss's own too, which a rule does not find."""
        row, label = logits[:1].detach(), torch.zeros(1, dtype=torch.int64, device=logits.device)
        return self._column(row, label).requires_grad

    def _kernel_terms(self, logits: Tensor) -> KernelTerms | None:
        """The terms of the device's own kernel, where it takes these logits and a gradient is wanted."""
        if is_traced() or not (logits.requires_grad and torch.is_grad_enabled()):
            return None
        return self.kernel_terms() if on_device.covers(logits) else None
