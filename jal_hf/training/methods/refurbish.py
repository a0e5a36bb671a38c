"""Labels that move towards what the network says of their rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jal_hf.losses import RobustLoss
from jal_hf.training.methods.demands import (
    require_one_label_a_row,
    require_rows,
    require_soft_targets,
    require_within,
)
from jal_hf.training.methods.mean_weight import NAMES, MeanWeight
from jal_hf.training.methods.method import Method, Phase
from jal_hf.training.methods.row_table import RowTable
from jal_hf.training.methods.step_view import Setting, StepView


class Refurbish(Method):
    """After a start, t_i <- alpha t_i + (1 - alpha) p_i each time a row is seen, from the given label on; L(z_i, t_i).

    Args:
        alpha: Share of the old target that stays.
        start: Share of the training with the given labels.
        weighted: Each row counts max_c t_i(c) over its running mean, so that rows between two classes count less.

    Reference:
        Huang et al. (2020), "Self-Adaptive Training: beyond Empirical Risk Minimization".

    Provenance:
        The paper divides the weights by their mean over the batch; by the mean of earlier steps a row's weight does
        not depend on who stands beside it.
    """

    name = "refurbish"
    capturable = True  # type: ignore[assignment]

    def __init__(self, *, alpha: float = 0.9, start: float = 0.3, weighted: bool = True) -> None:
        self.alpha = require_within(self.name, "alpha", alpha, 0.0, 1.0)
        self.start = require_within(self.name, "start", start, 0.0, 1.0)
        if not isinstance(weighted, bool):
            raise ValueError(f"Method 'refurbish': weighted must be true or false, got {weighted!r}.")
        self.weighted = weighted

    def check(self, criterion: RobustLoss, *, is_stream: bool) -> None:
        require_soft_targets(self.name, criterion)
        require_rows(self.name, is_stream, "Train without --streaming on a part of the data, or without it.")

    def begin(self, setting: Setting) -> None:
        super().begin(setting)
        assert setting.rows is not None
        self.table = RowTable(self.name, setting, setting.rows)
        self.sureness = MeanWeight(setting)

    def phase(self, progress: float) -> Phase:
        return (progress < self.start,)

    def targets(self, view: StepView) -> Tensor:
        if view.progress < self.start:
            return view.targets
        require_one_label_a_row(self.name, view)
        given, predicted = view.label_probabilities(), view.probabilities().detach()
        kept = self.table.read(view.index, given.shape[1])
        sums = kept.sum(dim=1, keepdim=True)
        # Half precision rounds; a row of zeros was never seen.
        before = torch.where(sums > 0, kept / sums.clamp_min(1e-6), given)
        targets = self.alpha * before + (1 - self.alpha) * predicted
        self.table.write(view.index, targets, view.counted())
        return torch.where(torch.isfinite(targets), targets, given)

    def row_weights(self, view: StepView) -> Tensor | None:
        if not self.weighted or view.progress < self.start:
            return view.sample_weight
        sure = self.sureness.scaled(view.targets.amax(dim=1))
        return sure if view.sample_weight is None else view.sample_weight * sure

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        if self.weighted and view.progress >= self.start:
            # Here, where weights are the data's: a method before this one may leave the loss no row.
            self.sureness.watch(view.targets.amax(dim=1), view)
        return {}

    def after_step(self, model: nn.Module, *, step: int) -> None:
        self.table.flush()
        self.sureness.flush()

    def state_dict(self) -> dict[str, Tensor]:
        return {**self.table.state_dict(), **self.sureness.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.table.load_state_dict(state)
        self.sureness.load_state_dict(state)
        self.refuse_others(state, "rows", *NAMES)
