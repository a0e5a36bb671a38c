"""What a trained model makes of its own training labels: recovered, memorised, lost classes, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from jal_hf.ground.files import JsonObject
from jal_hf.ground.sentences import counted
from jal_hf.training.metrics import classification_metrics

HISTOGRAM_BINS = 20
LOST_BELOW = 0.1  # predicted this often for each time it is given
MOST_LOST_SHOWN = 3
STANDARD_ERRORS = 2.0
FEWEST_ROWS = 50  # fewer tell nothing of chance


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (N, K) in float64 from logits (N, K)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def confidence_histogram(
    confidence: npt.ArrayLike, is_wrong: npt.ArrayLike | None = None, bins: int = HISTOGRAM_BINS
) -> dict[str, list[float]]:
    """Counts of p(given label) over equal bins of [0, 1]: `clean` and `wrong`, or `given` where that is not known.

    Args:
        confidence: p of the given label, (N,).
        is_wrong: (N,) bool, or None where clean labels are not known.

    This is Figure 3 of the JAL paper: a robust loss leaves the wrong labels near 0 and the right ones near 1.

    Raises:
        ValueError: Shapes that do not agree.
    """
    values = np.asarray(confidence, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"confidence has shape {values.shape}; it must be (N,): p of each given label.")
    groups = {"given": values}
    if is_wrong is not None:
        wrong = np.asarray(is_wrong, dtype=bool)
        if wrong.shape != values.shape:
            raise ValueError(
                f"is_wrong has shape {wrong.shape} and confidence {values.shape}; they must agree."
            )
        groups = {"clean": values[~wrong], "wrong": values[wrong]}
    edges = np.linspace(0.0, 1.0, bins + 1)
    counts = {name: np.histogram(group, bins=edges)[0].tolist() for name, group in groups.items()}
    return {"edges": [round(float(edge), 6) for edge in edges], **counts}


def lost_classes(
    predicted: NDArray[np.integer[Any]], given: NDArray[np.integer[Any]], num_classes: int
) -> list[dict[str, int]]:
    """Classes that the model hardly ever predicts, though training rows carry their label.

    Args:
        predicted: Predicted classes of the training rows, (N,).
        given: Given labels of the same rows, (N,).
        num_classes: K.

    Returns:
        For each class predicted less than a tenth as often as it is given: `class`, `given` and `predicted` (row
        counts), and `mostly`, the class that most of the rows with its label are taken for.

    A bounded loss has next to no gradient for a class whose probability has gone to 0, so that a class which its
    look-alike swallows early stays lost. MNIST's 7 under asymmetric noise (40 % of it labelled 1) is such a one.
    """
    given_counts = np.bincount(given, minlength=num_classes)
    predicted_counts = np.bincount(predicted, minlength=num_classes)
    return [
        {
            "class": int(label),
            "given": int(given_counts[label]),
            "predicted": int(predicted_counts[label]),
            "mostly": int(np.bincount(predicted[given == label]).argmax()),
        }
        for label in np.flatnonzero(predicted_counts < LOST_BELOW * given_counts)
    ]


def has_learned_nothing(
    predicted: NDArray[np.integer[Any]], given: NDArray[np.integer[Any]], num_classes: int
) -> bool:
    """Whether the predictions on the training rows agree with their labels no more than by chance.

    Chance is what predictions would agree by if they were dealt out anew over the rows, so that naming the largest
    class always is chance too, however large it is: Cohen's kappa, within two standard errors of 0. Of fewer than 50
    rows, or of one class alone, nothing is said.

    Args:
        predicted: Predicted classes of the training rows, (N,).
        given: Given labels of the same rows, (N,).
        num_classes: K.
    """
    rows = len(given)
    shares = [np.bincount(labels, minlength=num_classes) / max(1, rows) for labels in (predicted, given)]
    by_chance = float(shares[0] @ shares[1])
    if rows < FEWEST_ROWS or np.count_nonzero(shares[1]) < 2:
        return False
    error = np.sqrt(by_chance * (1.0 - by_chance) / rows)
    return bool(np.mean(predicted == given) < by_chance + STANDARD_ERRORS * error)


def training_set_figures(
    logits: NDArray[np.floating[Any]],
    given: NDArray[np.integer[Any]],
    clean: NDArray[np.integer[Any]] | None,
    class_names: Sequence[str],
) -> JsonObject:
    """Figures for `metrics.train` of a run's record, from logits (N, K) without augmentation."""
    labelled = given >= 0
    logits, given, clean = logits[labelled], given[labelled], None if clean is None else clean[labelled]
    figures = classification_metrics(logits, given, clean)
    predicted, num_classes = logits.argmax(axis=1), logits.shape[1]
    lost = lost_classes(predicted, given, num_classes)
    is_idle = has_learned_nothing(predicted, given, num_classes)
    return {
        "accuracy": figures["accuracy"],
        "clean_accuracy": figures.get("clean_accuracy"),
        "memorized_rate": figures.get("memorized_rate"),
        "lost_classes": lost,
        "warnings": [_nothing_learned(len(given))] if is_idle else _lost_class_warnings(lost, class_names),
        "confidence_histogram": confidence_histogram(
            softmax(logits)[np.arange(len(given)), given], None if clean is None else given != clean
        ),
    }


def _nothing_learned(rows: int) -> str:
    return (
        f"The network has learned nothing: on its own {rows:,} training rows it agrees with the labels no more than by "
        "chance. More steps (epochs, or smaller batches), another learning rate, a smaller network or pretrained "
        "weights (jal-hf finetune) may help; cross entropy beside it (--loss ce) tells whether it is the loss."
    )


def _lost_class_warnings(lost: Sequence[dict[str, int]], class_names: Sequence[str]) -> list[str]:
    if not lost:
        return []
    return [
        *(
            f"Class {class_names[entry['class']]} is lost: given to {counted(entry['given'], 'training row')}, "
            f"predicted on {entry['predicted']:,} of all, mostly taken for class {class_names[entry['mostly']]}."
            for entry in lost[:MOST_LOST_SHOWN]
        ),
        *(
            [f"Lost classes beyond these: {len(lost) - MOST_LOST_SHOWN}."]
            if len(lost) > MOST_LOST_SHOWN
            else ()
        ),
        "A bounded loss hardly brings back a class that another swallowed early; a smaller learning rate, longer "
        "training, another seed or "
        "more weight on a normalised part such as NCE (alpha) may.",
    ]
