"""What a training method is shown: the training before its first step, and one micro-batch of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from jal_hf.losses import RobustLoss
from jal_hf.losses.inputs import in_full_precision


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
