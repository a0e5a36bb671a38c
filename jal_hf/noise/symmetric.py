"""Noise that treats all classes alike: none, symmetric, pairflip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jal_hf.noise.base import LabelNoise, Labels, Matrix, check_rate
from jal_hf.noise.class_conditional import ClassConditionalNoise
from jal_hf.noise.keyed import UInt64
from jal_hf.noise.spec import join_spec, rate_text


class NoNoise(LabelNoise):
    """Labels as they are."""

    kind = "none"
    family = "clean"

    def __init__(self, num_classes: int | None = None, class_names: Sequence[str] | None = None) -> None:
        super().__init__(0.0, "exact", num_classes, class_names)

    @property
    def spec(self) -> str:
        return self.kind

    @property
    def row_wise(self) -> bool:
        return True

    def transition_matrix(self) -> Matrix | None:
        """The identity, or None while the number of classes is unknown."""
        return None if self.num_classes is None else np.eye(self.num_classes)

    def _draw(self, labels: Labels, keys: UInt64, seed: int, features: Any) -> Labels:
        return labels


class SymmetricNoise(ClassConditionalNoise):
    """The label moves to each other class with probability rate / (K - 1).

    With `include_true_class` (`include_true=true` in a spec) the new label is drawn among all K classes, as most
    papers on training methods do: their "80 %" makes 72 % of ten classes' labels wrong, and `expected_rate` says so.
    """

    kind = "symmetric"

    def __init__(
        self,
        rate: float,
        num_classes: int,
        mode: str = "exact",
        include_true_class: bool = False,
        class_names: Sequence[str] | None = None,
    ) -> None:
        check_rate(rate, self.kind)
        flip = rate * (num_classes - 1) / num_classes if include_true_class else rate
        matrix = np.full((num_classes, num_classes), flip / (num_classes - 1))
        np.fill_diagonal(matrix, 1.0 - flip)
        super().__init__(rate, mode, matrix, np.full(num_classes, flip), class_names)
        self.include_true_class = include_true_class

    @property
    def spec(self) -> str:
        options = {"include_true": "true"} if self.include_true_class else {}
        if self.mode != "exact":
            options["mode"] = self.mode
        return join_spec(self.kind, rate_text(self.rate), options)


class PairFlipNoise(ClassConditionalNoise):
    """The label moves to the next class, the last to the first, with probability rate."""

    kind = "pairflip"
    family = "asymmetric"

    def __init__(
        self, rate: float, num_classes: int, mode: str = "exact", class_names: Sequence[str] | None = None
    ) -> None:
        check_rate(rate, self.kind)
        matrix = np.eye(num_classes) * (1.0 - rate) + np.roll(np.eye(num_classes), 1, axis=1) * rate
        super().__init__(rate, mode, matrix, np.full(num_classes, rate), class_names)

    @property
    def spec(self) -> str:
        return join_spec(
            self.kind, rate_text(self.rate), {"mode": self.mode} if self.mode != "exact" else None
        )
