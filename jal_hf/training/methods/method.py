"""What a training method may do in a step; the base class does nothing, and is the method `plain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Batch = dict[str, Any]
"""Tensors by name: `pixel_values` or a tokenizer's fields, `labels`, and `index`, `clean_label`, `sample_weight`."""


@dataclass(frozen=True)
class StepView:
    """One micro-batch of a training step, as a method sees it after the forward pass.

    Attributes:
        logits: (N, K) or (N, K, d1, ...), with gradient.
        labels: What the loss will be given, (N, ...) int64, or class probabilities of the logits' shape.
        index: Row numbers (N,), or None where the data has none.
        sample_weight: Weights of the rows (N,), or None.
        model: The network, in training mode.
        batch: The batch that went in.
        step: Optimizer steps done before this one.
        progress: Share of the training that is done, in [0, 1].
    """

    logits: Tensor
    labels: Tensor
    index: Tensor | None
    sample_weight: Tensor | None
    model: nn.Module
    batch: Mapping[str, Any]
    step: int
    progress: float


class Method:
    """A training method. Each hook leaves things as they are unless a subclass says otherwise.

    Sums over rows that `terms` returns are divided as the loss's own sum is, so that a step depends on the global
    batch alone, however it is split.
    """

    name: str = "plain"

    @property
    def capturable(self) -> bool:
        """Whether its hooks work on tensors alone, so that a step with them can be recorded and replayed.

        Then no hook reads a value back, and nothing depends on `step`, `epoch` or `progress`. A subclass that keeps to
        this says `capturable = True`.
        """
        return type(self) is Method

    def begin(self, *, num_classes: int | None, rows: int | None, seed: int, model: nn.Module) -> None:
        """Called once before the first step, or before a checkpoint's state is loaded.

        Args:
            num_classes: K, or None where the model doesn't say.
            rows: Rows of the training set, or None for a stream.
        """

    def change_batch(self, batch: Batch, *, step: int, epoch: float) -> Batch:
        """The batch that is trained on in place of this one."""
        return batch

    def targets(self, view: StepView) -> Tensor:
        """Labels, or class probabilities, for the loss."""
        return view.labels

    def row_weights(self, view: StepView) -> Tensor | None:
        """Weights of the rows (N,), or None where each counts 1."""
        return view.sample_weight

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        """Further terms of the training loss by name, each a sum over the rows."""
        return {}

    def after_step(self, model: nn.Module, *, step: int) -> None:
        """Called after each optimizer step; `step` counts it."""

    @contextmanager
    def evaluated(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model has the weights that are evaluated and exported."""
        yield

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold so that a resumed run goes on exactly; tensors by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: State of another method, or of other data.
        """
        if state:
            raise ValueError(
                f"The checkpoint holds state of a training method ({', '.join(sorted(state)[:3])}), and {self.name!r} "
                "keeps none. Resume with the --method that wrote it."
            )

    def config(self) -> dict[str, Any]:
        """The method's name and parameters, for the record."""
        return {"name": self.name}
