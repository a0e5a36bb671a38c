"""What an equation reads: the logits, their log-softmax (computed once), and the label's column."""

from __future__ import annotations

import torch
from torch import Tensor


class Scores:
    """Predictions of N samples over K classes, and which column of them is "the label".

    With labels (N,), `label(x)` picks the label's entry of a matrix (N, K) as a column (N, 1). Without labels it
    returns the matrix itself, so the same equation yields the loss for *every* label at once, (N, K). Sums
    over classes keep their axis; both cases then broadcast, and no one-hot matrix is ever built. With class
    probabilities (N, K) it is as without labels, and `expected` takes the mean over them in the end.
    """

    def __init__(self, logits: Tensor, target: Tensor | None) -> None:
        self.logits = logits
        self.soft = target if target is not None and target.is_floating_point() else None
        labels = target if self.soft is None else None
        self.labels = labels if labels is None or labels.dim() > 1 else labels.unsqueeze(1)
        self._log_p: Tensor | None = None
        self._p: Tensor | None = None
        self._graph = True
        self.scratch: Tensor | None = None

    @classmethod
    def without_graph(
        cls, logits: Tensor, target: Tensor, for_p: Tensor | None = None, for_log_p: Tensor | None = None
    ) -> Scores:
        """Scores whose softmax is found at once, for closed forms: nothing is kept for autograd.

        By hand rather than by log_softmax, whose kernel is slow on short rows; and no p exceeds 1, as the
        exponential of a rounded log p may. p and log p go to the room given for them, (N, K), if any.
        """
        scores = cls(logits, target)
        scores._graph = False
        scores.scratch = for_log_p
        log_p = torch.sub(logits, logits.amax(1, keepdim=True), out=for_log_p)
        p = torch.exp(log_p, out=for_p)
        normaliser = p.sum(1, keepdim=True)
        scores._p = p.div_(normaliser)
        scores._log_p = log_p.sub_(normaliser.log_())
        return scores

    @classmethod
    def from_probabilities(cls, probabilities: Tensor, labels: Tensor | None = None) -> Scores:
        """Scores of given rows of the simplex, for theory: no softmax lies between them and the loss."""
        log_p = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
        scores = cls(log_p, labels)
        scores._log_p, scores._p = log_p, probabilities
        return scores

    @property
    def num_classes(self) -> int:
        return self.logits.shape[1]

    @property
    def log_p(self) -> Tensor:
        """log softmax(z), (N, K)."""
        if self._log_p is None:
            self._log_p = torch.log_softmax(self.logits, dim=1)
        return self._log_p

    @property
    def p(self) -> Tensor:
        """softmax(z), (N, K)."""
        if self._p is None:
            self._p = self.log_p.exp()
        return self._p

    @property
    def label_p(self) -> Tensor:
        """Probability of the label; only the label's column is exponentiated."""
        if self._p is not None:
            return self.label(self._p)
        return self.label(self.log_p).exp()

    @property
    def label_index(self) -> Tensor:
        """The label's class index: (N, 1) with labels, (1, K) without."""
        if self.labels is None:
            return torch.arange(self.num_classes, device=self.logits.device).unsqueeze(0)
        return self.labels

    def label(self, values: Tensor) -> Tensor:
        """The label's entry of each row (N, 1), or all rows when no labels were given."""
        if self.labels is not None:
            return values.gather(1, self.labels)
        # A closed form works in the place of what it is given here.
        return values if self._graph else values.clone()

    def expected(self, losses: Tensor) -> Tensor:
        """Losses of every label (N, K) as their mean (N, 1) under the class probabilities, if there are some."""
        return losses if self.soft is None else (losses * self.soft).sum(1, keepdim=True)

    def for_every_label(self) -> Scores:
        """The same predictions without labels, sharing the log-softmax already computed."""
        scores = Scores(self.logits, None)
        scores._log_p, scores._p = self.log_p, self._p
        return scores
