"""Accuracy as an `evaluate.Metric` that ships with the package: nothing is downloaded, nothing remote is run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import evaluate
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import EvalPrediction

from jal_hf.training.criterion import classes_second

Figures = dict[str, float]

_ROWS_AT_ONCE = 65_536
_NUMBERS_AT_ONCE = 2**25

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


def fitting_metrics(
    prediction: EvalPrediction, ignore_index: int = -100, classes_last: bool | None = None
) -> Figures:
    """The Trainer's `compute_metrics`: accuracy where the labels are classes, and nothing where they aren't.

    Takes logits (N, K) with labels (N,), token logits (N, T, K) with (N, T), maps (N, K, d1, ...) with (N, d1, ...),
    which may be coarser than labels (N, H, W), and classes in the labels' own shape, which
    `preprocess_logits_for_metrics` may have left; or lists of these, batch by batch.

    Args:
        classes_last: Decides where the shape fits tokens and maps; None is for tokens.
    """
    predictions, labels = prediction.predictions, prediction.label_ids
    batches = (
        zip(predictions, labels, strict=True) if isinstance(predictions, list) else [(predictions, labels)]
    )
    right: dict[str, int] = {}
    counted = 0
    for batch in batches:
        for part in _blocks(*batch):
            rows = _rows(*part, classes_last)
            if rows is None:
                return {}
            scores, references = rows
            count = int(_is_counted(references, ignore_index).sum())
            if not count:
                continue
            counted += count
            for name, share in _shares(scores, references, ignore_index).items():
                right[name] = right.get(name, 0) + round(share * count)
    return {name: number / counted for name, number in right.items()}


def _shares(scores: NDArray[Any], references: NDArray[Any], ignore_index: int) -> Figures:
    if scores.ndim == 1:
        return {"accuracy": float((scores == references)[_is_counted(references, ignore_index)].mean())}
    return classification_metrics(scores, references, ignore_index=ignore_index)


def _blocks(logits: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    """The same logits and labels, of maps coarser than their labels a few at a time, scaled up as the loss does."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    if not _are_coarse(logits, labels):
        yield logits, labels
        return
    step = rows_at_once(logits, labels)
    for start in range(0, len(labels), step):
        some_logits, some_labels = logits[start : start + step], labels[start : start + step]
        scores = torch.as_tensor(some_logits, dtype=torch.float32)
        yield classes_second(scores, torch.as_tensor(some_labels)).numpy(), some_labels


def _are_coarse(logits: Any, labels: Any) -> bool:
    if (
        not isinstance(logits, np.ndarray)
        or not isinstance(labels, np.ndarray)
        or labels.dtype.kind not in "iu"
    ):
        return False
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        return False
    return bool(logits.shape[:-1] != labels.shape and logits.shape[2:] != labels.shape[1:])


def rows_at_once(logits: NDArray[Any], labels: NDArray[Any]) -> int:
    """How many rows' logits are looked at together, at the size of their labels."""
    places = int(np.prod(labels.shape[1:])) if labels.ndim > 2 else 1
    return max(1, min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // max(1, places * int(logits.shape[1]))))


def _rows(logits: Any, labels: Any, classes_last: bool | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Logits (M, K), or classes (M,), and labels (M,); None where they fit in no way."""
    if (
        not isinstance(logits, np.ndarray)
        or not isinstance(labels, np.ndarray)
        or labels.dtype.kind not in "iu"
    ):
        return None
    if logits.shape == labels.shape:
        return logits.reshape(-1), labels.reshape(-1)
    if logits.ndim != labels.ndim + 1:
        return None
    is_map = logits.shape[:1] + logits.shape[2:] == labels.shape
    if logits.shape[:-1] == labels.shape and not (is_map and classes_last is False):
        return logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    if is_map:
        return np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1]), labels.reshape(-1)
    return None
