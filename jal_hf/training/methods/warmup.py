"""Cross entropy first, then the loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from jal_hf.losses.inputs import in_full_precision
from jal_hf.training.methods.demands import require_within
from jal_hf.training.methods.method import Method, Phase
from jal_hf.training.methods.step_view import StepView


class Warmup(Method):
    """a CE(z_i, y_i) + (1 - a) L(z_i, y_i): a is 1 at first, and falls to 0 over a fade.

    Robust losses start slowly where there are many classes: the gradient of a row that the network knows nothing
    of is up to hundreds of times smaller than cross entropy's.

    Args:
        share: Of the training with cross entropy alone.
        fade: Share of the training over which a falls after it; 0 changes at once.
    """

    name = "warmup"
    capturable = True  # type: ignore[assignment]

    def __init__(self, *, share: float = 0.05, fade: float = 0.0) -> None:
        self.share = require_within(self.name, "share", share, 0.0, 1.0)
        self.fade = require_within(self.name, "fade", fade, 0.0, 1.0)

    def rates(self, progress: float) -> dict[str, float]:
        part = self._part(progress)
        return {"warmup.cross entropy": part, "warmup.loss": 1 - part}

    def phase(self, progress: float) -> Phase:
        return (self._part(progress) == 0,)

    def row_weights(self, view: StepView) -> Tensor | None:
        if self._part(view.progress) == 0:
            return view.sample_weight
        weight = torch.ones(len(view.logits), device=view.logits.device)
        return (weight if view.sample_weight is None else view.sample_weight) * self.rate(view, "loss")

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        if self._part(view.progress) == 0:
            return {}
        logits, targets = in_full_precision(view.logits), view.targets
        weight = None if view.class_weight is None else view.class_weight.to(logits)
        if targets.is_floating_point():
            losses = functional.cross_entropy(logits, targets.to(logits.dtype), weight, reduction="none")
        else:
            losses = functional.cross_entropy(
                logits, targets, weight, reduction="none", ignore_index=view.ignore_index
            )
        total = (losses * view.counted()).sum()
        return {"warmup": view.loss_scale * self.rate(view, "cross entropy") * total}

    def _part(self, progress: float) -> float:
        if progress < self.share:
            return 1.0
        return max(0.0, 1.0 - (progress - self.share) / self.fade) if self.fade else 0.0
