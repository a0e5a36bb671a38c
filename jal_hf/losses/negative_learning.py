"""The negative-learning term of NLNL: "the sample is not of class j", for a j drawn anew at every call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import NLNL
from jal_hf.losses.parameters import require_number
from jal_hf.losses.registry import register_loss
from jal_hf.losses.scores import Scores

SMALLEST = 1e-5


@register_loss(
    "nlnl",
    summary="negative learning: pushes down a class that the label is not",
    formula="-w_y log(1 - p_j), j uniform over classes != y, 1 - p at least 1e-5, mean over ln_neg draws",
    citation=NLNL,
    passive=True,
)
class NegativeLearningLoss(RobustLoss):
    """NLNL's negative-learning term.

    Formula:
        -w_y log max(1 - p_j, 1e-5), j uniform over the classes other than y, mean over `ln_neg` draws;
        w_y = max count / count of y.
    Properties:
        Passive; neither symmetric nor asymmetric; in [0, w_y * 11.52].
    Args:
        ln_neg: draws per sample and call.
        class_counts: K training counts that set w_y; None weighs all classes alike.
        seed: the draws are a function of (seed, number of the call, row), on every device alike; torch's
            global generator is neither read nor moved.
    Shape:
        As `RobustLoss`; soft targets are refused.
    Raises:
        ValueError: ln_neg below 1, a class count that is not positive, or counts of another K.
    Example:
        >>> import torch
        >>> logits, target = torch.zeros(2, 4), torch.tensor([0, 3])
        >>> round(NegativeLearningLoss()(logits, target).item(), 4)  # -log(3/4)
        0.2877

    Reference:
        Kim et al., "NLNL: Negative Learning for Noisy Labels", ICCV 2019, equation 2.
    Provenance:
        The published code adds a cross entropy over an all-ignored batch, which is NaN on current torch;
        only the negative-learning term is here. It draws from the global generator; this does not.
    """

    linear_in_label = False
    random = True
    calls: Tensor

    def __init__(
        self,
        ln_neg: int = 1,
        class_counts: Sequence[float] | None = None,
        seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.ln_neg = int(require_number(self.label, "ln_neg", ln_neg, at_least=1.0))
        self.class_counts = None if class_counts is None else [float(count) for count in class_counts]
        for count in self.class_counts or ():
            require_number(self.label, "class_counts", count, above=0.0)
        self.seed = int(require_number(self.label, "seed", seed, at_least=0.0))
        # A tensor, so that counting the calls neither waits for a device nor breaks a compiled graph.
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def equation(self, scores: Scores) -> Tensor:
        log_rest = (1.0 - scores.p).clamp_min(SMALLEST).log()
        num_classes = scores.num_classes
        if scores.labels is None:
            # Every label at once: the mean over the draws, exactly.
            losses = (log_rest - log_rest.sum(1, keepdim=True)) / (num_classes - 1)
        else:
            losses = -log_rest.gather(1, self._draw(scores.labels, num_classes)).mean(1, keepdim=True)
        if self.class_counts is None:
            return losses
        if len(self.class_counts) != num_classes:
            raise ValueError(
                f"nlnl: class_counts has {len(self.class_counts)} entries, but the logits have "
                f"{num_classes} classes."
            )
        counts = losses.new_tensor(self.class_counts)
        return losses * (counts.max() / counts)[scores.label_index]

    def _draw(self, labels: Tensor, num_classes: int) -> Tensor:
        """(N, ln_neg) classes other than the label."""
        rows = torch.arange(labels.shape[0] * self.ln_neg, device=labels.device).view(-1, self.ln_neg)
        state = _mix(rows + _mix(self.calls.to(labels.device) + self.seed * 1_000_003))
        self.calls += 1
        return (labels + 1 + state.remainder(num_classes - 1)) % num_classes


def _mix(state: Tensor) -> Tensor:
    """A hash of int64 in [0, 2^62): two rounds of multiply and shift, wrapping around."""
    for multiplier in (0x1F123BB5159A55E5, 0x2545F4914F6CDD1D):
        state = (state + 0x1E3779B97F4A7C15) * multiplier
        state = state ^ (state >> 29)
    return (state >> 1) & 0x3FFFFFFFFFFFFFFF
