"""What a trained model makes of its own training labels: recovered, memorised, and how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jal_hf.training.metrics import classification_metrics

HISTOGRAM_BINS = 20


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (N, K) in float64 from logits (N, K)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def confidence_histogram(
    probabilities: NDArray[np.floating[Any]],
    given: NDArray[np.integer[Any]],
    clean: NDArray[np.integer[Any]] | None,
    bins: int = HISTOGRAM_BINS,
) -> dict[str, list[float] | list[int]]:
    """Counts of p(given label) over equal bins of [0, 1], for rows whose label is right and for those where it isn't.

    Args:
        probabilities: (N, K), rows sum to 1.
        given: Given labels, (N,).
        clean: True labels, (N,); None counts every row as right.

    This is Figure 3 of the JAL paper: a robust loss leaves the wrong labels near 0 and the right ones near 1.
    """
    confidence = probabilities[np.arange(len(given)), given]
    wrong = np.zeros(len(given), dtype=bool) if clean is None else given != clean
    edges = np.linspace(0.0, 1.0, bins + 1)
    counts = {
        name: np.histogram(confidence[rows], bins=edges)[0].tolist()
        for name, rows in (("clean", ~wrong), ("wrong", wrong))
    }
    return {"edges": [round(float(edge), 6) for edge in edges], **counts}


def training_set_figures(
    logits: NDArray[np.floating[Any]], given: NDArray[np.integer[Any]], clean: NDArray[np.integer[Any]] | None
) -> dict[str, Any]:
    """Figures for `metrics.train` of a run's record, from logits (N, K) without augmentation."""
    figures = classification_metrics(logits, given, clean)
    return {
        "accuracy": figures["accuracy"],
        "clean_accuracy": figures.get("clean_accuracy"),
        "memorized_rate": figures.get("memorized_rate"),
        "confidence_histogram": confidence_histogram(softmax(logits), given, clean),
    }
