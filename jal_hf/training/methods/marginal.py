"""The running mean prediction, and predictions freed of its leaning to some classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jal_hf.training.methods.step_view import Setting, StepView

PRIORS = ("uniform", "labels")
_LEAST = 1e-4


class ClassMarginal:
    """pi, the running mean over steps of the mean prediction of a global batch, and the prior it should be.

    The first steps weigh more, 9 / (10 + t), so that the mean follows a training's quick start.

    A step uses the values from before it, and `flush` takes in what all processes saw, so neither depends on how the
    batch is split. All tensors stay where they are once they are made.

    Args:
        momentum: Of the running means, in [0, 1].
        prior: `uniform`, or `labels`: the running mean of the given labels.
    """

    def __init__(self, setting: Setting, momentum: float, prior: str) -> None:
        self.setting, self.momentum, self.prior_kind = setting, momentum, prior
        self.running: Tensor | None = None
        """(2, K): pi, and the prior."""
        self.steps = torch.zeros((), device=setting.device)
        self._seen: Tensor | None = None

    def debiased(self, probabilities: Tensor) -> Tensor:
        """p(c) prior(c) / pi(c), normalised; (N, K, ...) to the same shape."""
        pi, prior = self.both(probabilities)
        shape = (1, -1) + (1,) * (probabilities.dim() - 2)
        weighted = probabilities * (prior / pi.clamp_min(_LEAST)).reshape(shape)
        return weighted / weighted.sum(dim=1, keepdim=True)

    def both(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """(pi, prior), each (K,) float32."""
        if self.running is None:
            classes = probabilities.shape[1]
            self.running = torch.full((2, classes), 1 / classes, device=probabilities.device)
        if self._seen is None:
            self._seen = torch.zeros(2 * self.running.shape[1] + 1, device=probabilities.device)
        return self.running[0], self.running[1]

    def watch(self, probabilities: Tensor, view: StepView) -> None:
        """Note the predictions (N, K, ...) of one micro-batch."""
        classes = probabilities.shape[1]
        counted = view.counted().flatten() > 0
        rows = probabilities.detach().movedim(1, -1).reshape(-1, classes)
        counted &= torch.isfinite(rows).all(dim=1)
        if view.labels.is_floating_point():
            given = view.labels.movedim(1, -1).reshape(-1, classes).float()
        else:
            given = torch.zeros_like(rows, dtype=torch.float32)
            given.scatter_(1, view.labels.reshape(-1, 1).clamp(0, classes - 1), 1.0)
        both = torch.stack(
            [torch.where(counted[:, None], part.float(), 0.0).sum(0) for part in (rows, given)]
        )
        self.both(probabilities)
        assert self._seen is not None
        self._seen += torch.cat([both.flatten(), counted.sum()[None].float()])

    def flush(self) -> None:
        """Take in what was noted since the last time, on all processes."""
        if self._seen is None or self.running is None:
            return
        seen = self.setting.summed(self._seen.clone())
        self._seen.zero_()
        means = (seen[:-1] / seen[-1].clamp_min(1)).reshape(2, -1)
        if self.prior_kind == "uniform":
            means[1] = 1 / means.shape[1]
        share = (9 / (10 + self.steps)).clamp_min(1 - self.momentum) * (seen[-1] > 0)
        self.running.lerp_(means, share)
        self.steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Both running means, once they exist."""
        return {} if self.running is None else {"marginal": self.running, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's means; a checkpoint without them starts anew."""
        found = state.get("marginal")
        self.running = None if found is None else found.to(self.setting.device)
        self.steps = state.get("steps", torch.zeros(())).to(self.setting.device)
        self._seen = None
