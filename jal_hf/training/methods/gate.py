"""Rows whose label the network contradicts count nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jal_hf.training.methods.demands import require_choice, require_one_label_a_row, require_within
from jal_hf.training.methods.marginal import PRIORS, ClassMarginal
from jal_hf.training.methods.mean_weight import NAMES, MeanWeight
from jal_hf.training.methods.method import Method, Setting, StepView


class Gate(Method):
    """After a warm-up the loss is w_i L(z_i, y_i) / w: w_i = 1 where the prediction's largest class is the label.

    The prediction is divided by the running mean prediction pi first, so that classes which are predicted rarely are
    not shut out. w is the running share of rows that are kept, at least 0.1, so that a step stays as long as it was.

    Args:
        warmup: Share of the training before it.
        momentum: Of pi, a step's share being 1 - momentum.
        prior: Which mean prediction is wanted: `uniform`, or as the given `labels` are distributed.

    Reference:
        DSS (CVPR 2026), selection with class debiasing.

    Provenance:
        The division by w is ours (6,000 images of MNIST, symmetric 0.8, 12 epochs: 55.7 % with it, 44.8 %
        without).
    """

    name = "gate"

    def __init__(self, *, warmup: float = 0.15, momentum: float = 0.99, prior: str = "uniform") -> None:
        self.warmup = require_within(self.name, "warmup", warmup, 0.0, 1.0)
        self.momentum = require_within(self.name, "momentum", momentum, 0.0, 1.0)
        self.prior = require_choice(self.name, "prior", prior, PRIORS)

    def begin(self, setting: Setting) -> None:
        super().begin(setting)
        self.marginal = ClassMarginal(setting, self.momentum, self.prior)
        self.kept = MeanWeight(setting, self.momentum)

    def row_weights(self, view: StepView) -> Tensor | None:
        require_one_label_a_row(self.name, view)
        predicted = view.probabilities().detach()
        debiased = self.marginal.debiased(predicted)
        self.marginal.watch(predicted, view)
        labels = view.targets.argmax(dim=1) if view.targets.is_floating_point() else view.targets
        agrees = (debiased.argmax(dim=1) == labels).to(torch.float32)
        self.kept.watch(agrees, view)
        if view.progress < self.warmup:
            return view.sample_weight
        weights = self.kept.scaled(agrees)
        return weights if view.sample_weight is None else view.sample_weight * weights

    def after_step(self, model: nn.Module, *, step: int) -> None:
        self.marginal.flush()
        self.kept.flush()

    def state_dict(self) -> dict[str, Tensor]:
        return {**self.marginal.state_dict(), **self.kept.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.marginal.load_state_dict(state)
        self.kept.load_state_dict(state)
        self.refuse_others(state, "marginal", "steps", *NAMES)
