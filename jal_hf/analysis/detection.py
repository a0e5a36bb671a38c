"""How well a ranking finds the wrong labels, where the clean ones are known."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score


@dataclass(frozen=True)
class DetectionScores:
    """All fractions in [0, 1]; `wrong_labels` and `rows` are counts.

    `precision_at_realised_rate`: share of truly wrong labels among the first `wrong_labels` of the ranking.
    """

    auroc: float
    average_precision: float
    precision_at_realised_rate: float
    realised_rate: float
    wrong_labels: int
    rows: int

    def to_dict(self) -> dict[str, float | int]:
        """The scores, ready for JSON."""
        return asdict(self)


def detection_scores(self_confidence: npt.ArrayLike, is_wrong: npt.ArrayLike) -> DetectionScores | None:
    """Scores of the ranking by falling doubt, that is by rising p of the given label.

    `self_confidence` and `is_wrong` have shape (N,). None when every label is wrong or none is: then there is
    nothing to tell apart.
    """
    confidence = np.asarray(self_confidence, dtype=np.float64)
    wrong = np.asarray(is_wrong, dtype=bool)
    if confidence.shape != wrong.shape or confidence.ndim != 1:
        raise ValueError(
            f"self_confidence has shape {confidence.shape} and is_wrong {wrong.shape}; both must be (N,)."
        )
    count = int(wrong.sum())
    if count in (0, wrong.size):
        return None
    first = np.argsort(confidence, kind="stable")[:count]
    return DetectionScores(
        auroc=float(roc_auc_score(wrong, -confidence)),
        average_precision=float(average_precision_score(wrong, -confidence)),
        precision_at_realised_rate=float(wrong[first].mean()),
        realised_rate=count / wrong.size,
        wrong_labels=count,
        rows=int(wrong.size),
    )
