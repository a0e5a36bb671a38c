"""Accuracy as an `evaluate.Metric` that ships with the package: nothing is downloaded, nothing remote is run."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from transformers import EvalPrediction

Figures = dict[str, float]

_DESCRIPTION = """\
Top-1 and top-5 accuracy of logits. With `clean_references` beside noisy `references` it also gives, on a training
set, the share of clean labels recovered and the share of wrong labels memorised.
"""
_INPUTS = """\
predictions: logits or probabilities, (N, K) floats.
references: given labels, (N,) integers in [0, K); rows equal to -100 are skipped.
clean_references: true labels, (N,), optional.
"""


class ImageClassificationMetric(evaluate.Metric):  # type: ignore[misc]
    """Accuracy figures as fractions in [0, 1].

    Keys: `accuracy`; `top5_accuracy` (only when K > 5); with `clean_references` also `clean_accuracy` (prediction
    equals the true label, over all rows) and `memorized_rate` (prediction equals the given label, over the rows
    whose given label is wrong; 0 when there are none).

    Example:
        >>> from jal_hf import ImageClassificationMetric
        >>> metric = ImageClassificationMetric()
        >>> metric.compute(predictions=[[0.9, 0.1], [0.2, 0.8]], references=[0, 0])
        {'accuracy': 0.5}
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"keep_in_memory": True, **kwargs})

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float32")),
                    "references": datasets.Value("int64"),
                }
            ),
        )

    def _compute(
        self, predictions: Any, references: Any, clean_references: Any | None = None, **_: Any
    ) -> Figures:
        clean = None if clean_references is None else np.asarray(clean_references)
        return classification_metrics(np.asarray(predictions), np.asarray(references), clean)


def classification_metrics(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    clean: NDArray[np.integer[Any]] | None = None,
    ignore_index: int = -100,
) -> Figures:
    """The metric's figures from arrays: logits (N, K), labels (N,) and true labels (N,) or None.

    Labels equal to `ignore_index` are not counted, nor are those of -100, with which the Trainer pads.

    Raises:
        ValueError: Shapes that don't fit, or no row left to count.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"Expected logits (N, K) and labels (N,), got {logits.shape} and {labels.shape}.")
    counted = _is_counted(labels, ignore_index)
    if not counted.any():
        raise ValueError("There is no labelled row to score.")
    logits, labels = logits[counted], labels[counted]
    predicted = logits.argmax(axis=1)
    figures = {"accuracy": float((predicted == labels).mean())}
    if logits.shape[1] > 5:
        best_five = np.argpartition(-logits, 5, axis=1)[:, :5]
        figures["top5_accuracy"] = float((best_five == labels[:, None]).any(axis=1).mean())
    if clean is not None:
        clean = clean[counted]
        wrong = labels != clean
        figures["clean_accuracy"] = float((predicted == clean).mean())
        figures["memorized_rate"] = float((predicted == labels)[wrong].mean()) if wrong.any() else 0.0
    return figures


def _is_counted(labels: NDArray[np.integer[Any]], ignore_index: int) -> NDArray[np.bool_]:
    counted: NDArray[np.bool_] = (labels != ignore_index) & (labels != -100)
    return counted


def fitting_metrics(prediction: EvalPrediction, ignore_index: int = -100) -> Figures:
    """The Trainer's `compute_metrics`: accuracy where the labels are classes, and nothing where they aren't.

    Takes logits (N, K) with labels (N,), token logits (N, T, K) with (N, T), maps (N, K, d1, ...) with (N, d1, ...),
    and classes in the labels' own shape, which `preprocess_logits_for_metrics` may have left; or lists of these, batch
    by batch.
    """
    predictions, labels = prediction.predictions, prediction.label_ids
    batches = (
        zip(predictions, labels, strict=True) if isinstance(predictions, list) else [(predictions, labels)]
    )
    parts = [_rows(*batch) for batch in batches]
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        return {}
    # One array may be large, and needs no copy.
    scores, references = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
    counted = _is_counted(references, ignore_index)
    if not counted.any():
        return {}
    if scores.ndim == 1:
        return {"accuracy": float((scores == references)[counted].mean())}
    return classification_metrics(scores, references, ignore_index=ignore_index)


def _rows(logits: Any, labels: Any) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Logits (M, K), or classes (M,), and labels (M,); None where they fit in no way."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    if (
        not isinstance(logits, np.ndarray)
        or not isinstance(labels, np.ndarray)
        or labels.dtype.kind not in "iu"
    ):
        return None
    if logits.shape == labels.shape:
        return logits.reshape(-1), labels.reshape(-1)
    if logits.ndim == labels.ndim + 1 and logits.shape[:-1] == labels.shape:
        return logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    if logits.ndim == labels.ndim + 1 and logits.shape[:1] + logits.shape[2:] == labels.shape:
        return np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1]), labels.reshape(-1)
    return None
