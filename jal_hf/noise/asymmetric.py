"""Noise that confuses each class with one other: 7 read as 1, a cat taken for a dog."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jal_hf.noise.base import check_rate
from jal_hf.noise.class_conditional import ClassConditionalNoise
from jal_hf.noise.class_maps import resolve_class_map
from jal_hf.noise.spec import join_spec, rate_text


class AsymmetricNoise(ClassConditionalNoise):
    """A class of the map moves to its one wrong class with probability rate; other classes stay clean.

    So on CIFAR-10, where the map has 5 of the 10 classes, a rate of 0.4 makes 20 % of all labels wrong.
    All flips are decided from the clean labels, never one pair after the other.

    Args:
        rate: Share of wrong labels within each class of the map.
        classes: A named map, `cat>dog;dog>cat`, or a JSON file; None infers it from the classes.
    """

    kind = "asymmetric"
    family = "asymmetric"

    def __init__(
        self,
        rate: float,
        num_classes: int,
        classes: str | None = None,
        mode: str = "exact",
        class_names: Sequence[str] | None = None,
    ) -> None:
        check_rate(rate, self.kind)
        self.classes, self.class_map = resolve_class_map(classes, num_classes, class_names)
        matrix = np.eye(num_classes)
        flip_rates = np.zeros(num_classes)
        for source, target in self.class_map.items():
            matrix[source, source], matrix[source, target] = 1.0 - rate, rate
            flip_rates[source] = rate
        super().__init__(rate, mode, matrix, flip_rates, class_names)

    @property
    def spec(self) -> str:
        options = {"classes": self.classes}
        if self.mode != "exact":
            options["mode"] = self.mode
        return join_spec(self.kind, rate_text(self.rate), options)
