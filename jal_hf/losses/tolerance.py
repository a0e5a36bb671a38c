"""What a loss says of the noise it tolerates; a loss with a theorem of its own overrides a method here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from jal_hf.losses.conditions import (
    JUST_ENOUGH,
    WEIGH_ALIKE,
    WEIGH_DIFFERENTLY,
    Lead,
    Verdict,
    leading,
    ratio_verdict,
)


class Tolerance:
    """The part of a loss that the theory asks."""

    name: str
    symmetric: bool = False
    approaches_vertex: bool = False
    """Whether, where the other labels weigh differently, the weighted loss attains no least, but nears one wherever the
    lightest label's p goes to 0: in many places, of which an asymmetric loss beside it leaves the vertex alone.
    """
    least_chosen_a: ClassVar[float] = 0.5
    """The least a that the preset `auto` takes, however mild the noise."""
    raises_a_to_safety: ClassVar[bool] = False
    """Whether advice replaces an a of the papers that lies below the smallest safe one."""

    smallest_a: Callable[[Lead], float] | None = None
    """The smallest a for which the loss is asymmetric on a row of weights with w_m > w_n; None without such an a."""

    def asymmetry_ratio(self) -> float | None:
        """The ratio r of Zhou et al. (2021), definition 3, for a loss of the label's probability; None if unknown."""
        return None

    def verdict(self, lead: Lead) -> Verdict | None:
        """Whether the loss is asymmetric on a row of weights with w_m > w_n, by a theorem; None where none tells.

        A symmetric loss is where its other labels weigh alike: sum_k w_k L(u, k) = (w_m - w_n) L(u, m) + constant.
        Theorem 3 of Zhou et al. (2021) says so for all weights; that needs L(e_m, k) at its largest for k != m, as of
        MAE, and fails for the normalised losses: NCE at weights (0.6, 0.4, 0) is 0.2 at the vertex, 0 beside it.
        """
        ratio = self.asymmetry_ratio()
        if ratio is not None:
            return ratio_verdict(lead, ratio)
        if self.symmetric and lead.least >= lead.next * JUST_ENOUGH:
            return WEIGH_ALIKE
        return WEIGH_DIFFERENTLY if self.approaches_vertex else None

    def with_a(self) -> Tolerance | None:
        """The loss or the part of it whose parameter a decides its asymmetry."""
        return self if self.smallest_a is not None else None

    def smallest_safe_a(self, weights: Sequence[float], dominant: int | None = None) -> float:
        """The smallest a for which the loss is asymmetric on weights over K labels; inf if there is none.

        Args:
            dominant: the label that should carry the largest weight; the heaviest one when None.

        Raises:
            ValueError: a loss without such an a.
        """
        if self.smallest_a is None:
            raise ValueError(f"{self.name} has no parameter a with a smallest safe value.")
        lead = leading(weights, dominant)
        return self.smallest_a(lead) if lead.top > lead.next else math.inf
