"""The Joint Asymmetric Losses and their parts as four numbers, for kernels that know this family."""

from __future__ import annotations

from typing import NamedTuple


class JointTerms(NamedTuple):
    """alpha * NCE (NFL where `gamma` is given) + beta * AMSE with q = 2; a weight of 0 leaves its half out."""

    alpha: float = 0.0
    beta: float = 0.0
    a: float = 1.0
    gamma: float | None = None

    def joined(self, passive: JointTerms, alpha: float, beta: float) -> JointTerms | None:
        """alpha * self + beta * passive, when self is purely active and the other purely passive."""
        if self.beta or passive.alpha:
            return None
        return JointTerms(alpha * self.alpha, beta * passive.beta, passive.a, self.gamma)
