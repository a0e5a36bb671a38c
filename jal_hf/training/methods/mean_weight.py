"""Row weights that leave a step as long as it was."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jal_hf.training.methods.step_view import Setting, StepView

NAMES = ("mean_weight", "mean_weight_steps")
_LEAST = 0.1


class MeanWeight:
    """The running mean weight of the rows that count; weights are divided by it.

    Without that a method that gives most rows little weight also trains with a smaller learning rate, beside the same
    decay. A batch's own mean would make the step depend on how the batch is split. The first steps weigh more,
    9 / (10 + t).

    Args:
        momentum: Of the mean, in [0, 1].
    """

    def __init__(self, setting: Setting, momentum: float = 0.99) -> None:
        self.setting, self.momentum = setting, momentum
        self.mean = torch.ones((), device=setting.device)
        self.steps = torch.zeros((), device=setting.device)
        self._seen = torch.zeros(2, device=setting.device)
        """Sum and count of the weights of this step; like the rest it stays where it is."""

    def scaled(self, weights: Tensor) -> Tensor:
        """Weights (N,) over the mean of the steps before this one, at most ten times what they are."""
        return weights / self.mean.clamp_min(_LEAST)

    def watch(self, weights: Tensor, view: StepView) -> None:
        """Note the weights (N,) of one micro-batch."""
        counted = view.counted()
        self._seen += torch.stack([(weights * counted).sum(), counted.sum()]).detach().float()

    def flush(self) -> None:
        """Take in what was noted since the last time, on all processes."""
        total, count = self.setting.summed(self._seen.clone()).unbind()
        self._seen.zero_()
        share = (9 / (10 + self.steps)).clamp_min(1 - self.momentum) * ((count > 0) & torch.isfinite(total))
        mean = self.mean.lerp(total / count.clamp_min(1e-12), share)
        self.mean.copy_(torch.where(share > 0, mean, self.mean))
        self.steps += (count > 0).float()

    def state_dict(self) -> dict[str, Tensor]:
        """The mean, once a step was taken in."""
        return dict(zip(NAMES, (self.mean, self.steps), strict=True)) if self.steps else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's mean; a checkpoint without it starts anew."""
        device = self.setting.device
        self.mean = state.get(NAMES[0], torch.ones(())).to(device)
        self.steps = state.get(NAMES[1], torch.zeros(())).to(device)
        self._seen.zero_()
