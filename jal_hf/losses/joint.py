"""One class for every combination alpha * active + beta * passive, instead of a class per pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from jal_hf.losses.base import LossConfig, RobustLoss
from jal_hf.losses.factory import as_loss
from jal_hf.losses.kernel_terms import KernelTerms, joined_terms
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import loss_info, register_composition
from jal_hf.losses.scores import Scores
from jal_hf.losses.slope import Slope, joined
from jal_hf.losses.tolerance import Tolerance


@register_composition("joint")
class JointLoss(RobustLoss):
    """Any active and any passive loss together.

    Formula:
        alpha active(z, y) + beta passive(z, y)
    Properties:
        Symmetric if both are; asymmetric if both are (Zhou et al., 2021, theorem 5), or one is beside NCE or NFL.
    Args:
        active: a loss, its name or its config; only its equation counts, weights and reduction are the joint's.
        passive: the same.
        alpha: weight of the first.
        beta: weight of the second.
        registered_as: the registry name of a pair, which its config then carries.
    Shape:
        As `RobustLoss`; soft targets where both parts take them.
    Raises:
        ValueError: alpha or beta below 0, or an unknown loss.
        TypeError: a part that is no loss.
    Example:
        >>> import torch
        >>> loss = JointLoss("nce", "mae", alpha=1.0, beta=0.5)
        >>> round(loss(torch.zeros(1, 4), torch.tensor([0])).item(), 4)  # 1/4 + 0.5 * 2 * 3/4
        1.0

    Reference:
        Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020 (APL).
    Provenance:
        Pairs of the papers take MAE as 1 - p_y; `JointLoss("nce", "mae")` takes the full 2 (1 - p_y).
    """

    def __init__(
        self,
        active: RobustLoss | str | LossConfig,
        passive: RobustLoss | str | LossConfig,
        alpha: float = 1.0,
        beta: float = 1.0,
        *,
        registered_as: str | None = None,
        **common: Any,
    ) -> None:
        self.name = registered_as or "joint"
        super().__init__(**common)
        self.registered_as = registered_as
        self.alpha = require_number(self.name, "alpha", alpha, at_least=0.0)
        self.beta = require_number(self.name, "beta", beta, at_least=0.0)
        self.active = as_loss(active, "active")
        self.passive = as_loss(passive, "passive")
        self.random = self.active.random or self.passive.random
        self.soft_targets = self.active.soft_targets and self.passive.soft_targets

    @property
    def parts(self) -> tuple[RobustLoss, ...]:  # type: ignore[override]
        return self.active, self.passive

    @property
    def part_weights(self) -> tuple[float, ...]:  # type: ignore[override]
        return self.alpha, self.beta

    def equation(self, scores: Scores) -> Tensor:
        return self.alpha * self.active.equation(scores) + self.beta * self.passive.equation(scores)

    @property
    def slope(self) -> Callable[[Scores], Slope] | None:  # type: ignore[override]
        """The joint slope, where both parts have one."""
        active, passive = self.active.slope, self.passive.slope
        if active is None or passive is None:
            return None
        return lambda scores: joined(active(scores), passive(scores), self.alpha, self.beta)

    def kernel_terms(self) -> KernelTerms | None:
        return joined_terms(self.active.kernel_terms(), self.passive.kernel_terms(), self.alpha, self.beta)

    def floor(self, num_classes: int) -> float:
        return self.alpha * self.active.floor(num_classes) + self.beta * self.passive.floor(num_classes)

    def with_a(self) -> Tolerance | None:
        return self.active.with_a() or self.passive.with_a()

    def hyperparameters(self) -> LossConfig:
        weights = {"alpha": self.alpha, "beta": self.beta}
        if self.registered_as is None:
            return {"active": self.active.config(), "passive": self.passive.config(), **weights}
        fixed = loss_info(self.registered_as).part_parameters
        own = {**self.active.hyperparameters(), **self.passive.hyperparameters()}
        return {**weights, **{name: value for name, value in own.items() if name not in fixed}}
