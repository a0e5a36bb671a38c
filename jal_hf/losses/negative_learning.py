"""The negative-learning term of NLNL: "the sample is not of class j", for a j drawn anew at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from jal_hf.losses.base import RobustLoss
from jal_hf.losses.citations import NLNL
from jal_hf.losses.draws import keyed_numbers
from jal_hf.losses.fused import Place, Rule
from jal_hf.losses.parameters import require_integer, require_number
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
        ln_neg: draws per sample and step.
        class_counts: K training counts that set w_y; None weighs all classes alike.
        seed: the draws are a function of (seed, step, row); `with loss.drawing(step, rows):` says step and rows,
            on every device alike. Else a row is its position in the batch, and each call whose logits want a
            gradient takes a step from torch's generator, as dropout does; without a gradient the step is 0.
    Shape:
        As `RobustLoss`; soft targets are refused.
    Raises:
        TypeError: ln_neg or seed is no whole number.
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
        only the negative-learning term is here. It draws each class from the global generator; this draws a
        step at most.
    """

    soft_targets = False
    random = True

    def __init__(
        self,
        ln_neg: int = 1,
        class_counts: Sequence[float] | None = None,
        seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.ln_neg = require_integer(self.name, "ln_neg", ln_neg, at_least=1)
        self.class_counts = None if class_counts is None else [float(count) for count in class_counts]
        for count in self.class_counts or ():
            require_number(self.name, "class_counts", count, above=0.0)
        self.seed = require_integer(self.name, "seed", seed, at_least=0)

    def equation(self, scores: Scores) -> Tensor:
        num_classes = scores.num_classes
        if scores.labels is None:
            # Every label at once: the mean over the draws, exactly.
            log_rest = (1.0 - scores.p).clamp_min(SMALLEST).log()
            losses = (log_rest - log_rest.sum(1, keepdim=True)) / (num_classes - 1)
            label = scores.label_index
        else:
            if scores.labels.shape[1] == 1:
                label, drawn = scores.labels, self._draw(scores.labels, scores.logits)
            else:
                label, drawn = scores.labels[:, :1], scores.labels[:, 1:]
            drawn_p = scores.log_p.gather(1, drawn).exp()
            losses = -(1.0 - drawn_p).clamp_min(SMALLEST).log().mean(1, keepdim=True)
        return losses if self.class_counts is None else losses * self._label_weight(label, scores.logits)

    def _losses(self, logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        # Drawn once here, the classes go along with the label, whatever is computed how often from them.
        column = labels.unsqueeze(1)
        drawn = self._draw(column, logits)
        return super()._losses(logits, torch.cat((column, drawn), dim=1), reduction)

    def _rule(self, logits: Tensor) -> Rule:
        return Rule(self._value_and_gradient, None, self._column)

    def _value_and_gradient(self, logits: Tensor, labels: Tensor, _: None, place: Place) -> Tensor:
        """With g_j = w_y p_j / (1 - p_j) / ln_neg at the classes drawn, the gradient is g - p sum_j g_j."""
        scores = Scores.without_graph(logits, labels, place.gradient, place.scratch)
        drawn = labels.narrow(1, 1, self.ln_neg)
        drawn_p = scores.p.gather(1, drawn)
        rest = 1.0 - drawn_p
        slope = drawn_p.mul_(rest >= SMALLEST).div_(rest.clamp_min_(SMALLEST))
        losses = rest.log_().mean(1, keepdim=True).neg_()
        if self.ln_neg > 1 or place.share != 1.0:
            slope.mul_(place.share / self.ln_neg)
        if self.class_counts is not None:
            weight = self._label_weight(labels[:, :1], logits)
            losses.mul_(weight)
            slope.mul_(weight)
        total = slope if self.ln_neg == 1 else slope.sum(1, keepdim=True)
        scores.p.mul_(total.neg()).scatter_add_(1, drawn, slope)
        return losses

    def _label_weight(self, label: Tensor, logits: Tensor) -> Tensor:
        """w_y = max count / count of y."""
        counts = self.class_counts or []
        if len(counts) != logits.shape[1]:
            raise ValueError(
                f"nlnl: class_counts has {len(counts)} entries, but the logits have "
                f"{logits.shape[1]} classes."
            )
        weights = torch.tensor([max(counts) / count for count in counts], dtype=logits.dtype)
        return weights.to(logits.device)[label]

    def _draw(self, label: Tensor, logits: Tensor) -> Tensor:
        """(N, ln_neg) classes other than the label, given as a column."""
        numbers = keyed_numbers(self.draw_key, self.seed, label.shape[0], self.ln_neg, logits)
        drawn = numbers % (logits.shape[1] - 1)
        return drawn + (drawn >= label)
