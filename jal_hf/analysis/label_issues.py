"""Which labels look wrong: every training example ranked by how little the model believes its given label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from jal_hf.analysis.detection import DetectionScores, detection_scores
from jal_hf.analysis.estimates import NoiseEstimate, estimate_from_predictions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelIssues:
    """One row an example, the most suspect first (rank 1); every array has shape (N,).

    `self_confidence` is p of the given label, `margin` that less the largest p of another label (in [-1, 1]),
    `loss` the training loss of the example or, where none was given, its cross entropy in nats.
    """

    index: IntArray
    given_label: IntArray
    suggested_label: IntArray
    self_confidence: FloatArray
    margin: FloatArray
    loss: FloatArray
    rank: IntArray
    clean_label: IntArray | None
    estimate: NoiseEstimate

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table by column name; `clean_label` is there only where clean labels are known."""
        names = ("index", "given_label", "suggested_label", "self_confidence", "margin", "loss", "rank")
        table: dict[str, npt.NDArray[np.generic]] = {name: getattr(self, name) for name in names}
        if self.clean_label is not None:
            table["clean_label"] = self.clean_label
        return table

    def to_dataset(self) -> Dataset:
        """The table as a `datasets.Dataset`."""
        return Dataset.from_dict(self.columns())

    def named(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Further columns for people: `given_class` and `suggested_class`."""
        names = np.asarray([str(name) for name in class_names], dtype=object)
        classes = {"given_class": self.given_label, "suggested_class": self.suggested_label}
        return {name: names[labels].tolist() for name, labels in classes.items()}

    def write(self, path: str | Path, extra: Mapping[str, Any] | None = None) -> Path:
        """Write the table as one parquet file, which `load_dataset` reads back; returns the path.

        Args:
            extra: further columns by name, in order of rank.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({**self.columns(), **(extra or {})}), target)
        return target

    def scores(self) -> DetectionScores | None:
        """How well the ranking finds the wrong labels; None where no clean labels are known."""
        if self.clean_label is None:
            return None
        return detection_scores(self.self_confidence, self.given_label != self.clean_label)

    def __len__(self) -> int:
        return int(self.index.size)


def find_label_issues(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    clean_labels: npt.ArrayLike | None = None,
    *,
    index: npt.ArrayLike | None = None,
    losses: npt.ArrayLike | None = None,
) -> LabelIssues:
    """Rank examples by p of their given label, the least believed first; ties by margin, then by row.

    `probabilities` is (N, K), its rows summing to 1; `labels` and `clean_labels` are (N,) class ids; `index`
    (N,) are the original row numbers (0 to N-1 unless given); `losses` (N,) each example's training loss.
    ValueError names the first rows that are out of range or not finite.
    """
    p = _checked_probabilities(probabilities)
    rows, classes = p.shape
    given = _checked_labels(labels, "labels", rows, classes)
    clean = None if clean_labels is None else _checked_labels(clean_labels, "clean_labels", rows, classes)
    numbers = np.arange(rows) if index is None else np.asarray(index, dtype=np.int64)
    loss = None if losses is None else np.asarray(losses, dtype=np.float64)
    for name, values in (("index", numbers), ("losses", loss)):
        if values is not None and values.shape != (rows,):
            raise ValueError(f"{name} has shape {values.shape}; it must be ({rows},), one value an example.")

    own = p[np.arange(rows), given]
    others = p.copy()
    others[np.arange(rows), given] = -1.0
    margin = own - others.max(axis=1) if classes > 1 else np.ones(rows)
    if loss is None:
        loss = -np.log(np.maximum(own, np.finfo(np.float64).tiny))
    order = np.lexsort((numbers, margin, own))
    return LabelIssues(
        index=numbers[order],
        given_label=given[order],
        suggested_label=p.argmax(axis=1).astype(np.int64)[order],
        self_confidence=own[order],
        margin=margin[order],
        loss=loss[order],
        rank=np.arange(1, rows + 1, dtype=np.int64),
        clean_label=None if clean is None else clean[order],
        estimate=estimate_from_predictions(p.argmax(axis=1), given, classes),
    )


def _checked_probabilities(probabilities: npt.ArrayLike) -> FloatArray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.size == 0:
        raise ValueError(f"probabilities has shape {p.shape}; it must be (N, K) with at least one row.")
    bad = np.flatnonzero(~(np.isfinite(p).all(axis=1) & (p >= 0.0).all(axis=1)))
    if bad.size:
        raise ValueError(
            f"probabilities is negative or not finite in {bad.size} rows, the first ones {bad[:5].tolist()}; "
            "give softmax outputs."
        )
    bad = np.flatnonzero(np.abs(p.sum(axis=1) - 1.0) > 1e-3)
    if bad.size:
        raise ValueError(
            f"{bad.size} rows of probabilities do not sum to 1, the first ones {bad[:5].tolist()}; "
            "give softmax outputs, not logits."
        )
    return p


def _checked_labels(labels: npt.ArrayLike, name: str, rows: int, classes: int) -> IntArray:
    values = np.asarray(labels)
    if values.shape != (rows,):
        raise ValueError(f"{name} has shape {values.shape} for {rows} rows of probabilities; give ({rows},).")
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{name} has dtype {values.dtype}; give integer class ids.")
    bad = np.flatnonzero((values < 0) | (values >= classes))
    if bad.size:
        raise ValueError(
            f"{bad.size} {name} lie outside [0, {classes}), the first ones in rows {bad[:5].tolist()} "
            f"with values {values[bad[:5]].tolist()}; give class ids that fit the {classes} columns."
        )
    return values.astype(np.int64)
