"""From suspects, or a person's decisions, to the labels that a dataset gets: what is changed, dropped or weighted."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from jal_hf.analysis.label_issues import FloatArray, IntArray
from jal_hf.data.column_values import rows_text
from jal_hf.ground.files import read_object, write_text
from jal_hf.ground.sentences import did_you_mean, shortened
from jal_hf.training.diagnostics import lost_classes

HOW = ("drop", "relabel", "weights")
RELABEL_FROM = 0.8
"""A suspect takes the suggested label where the judge's p of it is at least this, and is dropped below it."""
DROPPED, KEEP = -1, -2
_VERDICTS = {"keep": KEEP, "drop": DROPPED}
_MOST_NAMED = 10


@dataclass(frozen=True)
class Change:
    """What became of one row: `new` is its class, or None where it was dropped; `weight` where rows are weighted.

    `file` is the name of an image's file, or a text.
    `confidence` is the judge's p of the new label; of a row that was dropped or weighted, p of the given one.
    """

    index: int
    file: str
    given: str
    new: str | None
    confidence: float
    rule: str
    weight: float | None = None


@dataclass(frozen=True)
class Cleaning:
    """`labels` (N,) are the labels to write, `DROPPED` for rows that are left out; `weights` (N,) or None."""

    labels: IntArray
    weights: FloatArray | None
    changes: tuple[Change, ...]

    def write_changes(self, path: Path, example: str = "file") -> Path:
        """The list of changes as CSV, under `example` the name of an image's file, or a text."""
        text = io.StringIO()
        names = [item.name for item in fields(Change)]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([example if name == "file" else name for name in names])
        for change in self.changes:
            values = [getattr(change, name) for name in names]
            writer.writerow(["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values])
        return write_text(path, text.getvalue())


def clean_labels(
    probabilities: FloatArray,
    given: IntArray,
    suspects: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    *,
    how: str | None,
    index: IntArray,
    files: Sequence[str] | None,
    class_names: Sequence[str],
    decisions: Mapping[int, int] | None = None,
) -> Cleaning:
    """Decide each row: a person's decision first, then the rule for suspects.

    Suspects of a class that the judge hardly ever predicts keep their label: it would contradict right ones too.

    Args:
        probabilities: (N, K) of the judge.
        suspects: (N,), rows whose label looks wrong.
        how: `drop` leaves suspects out; `relabel` gives them the suggested label where p of it is at least 0.8 and
            leaves the others out; `weights` keeps all rows and weighs each by p of its given label; None changes
            only what was decided.
        decisions: by row number: `KEEP`, `DROPPED`, or a class.

    Raises:
        ValueError: an unknown way, nothing to go by, or decisions on rows or for classes that there are not.
    """
    if how is not None and how not in HOW:
        raise ValueError(f"how is {how!r}; choose one of {', '.join(HOW)}.")
    if how is None and not decisions:
        raise ValueError(
            "Say what becomes of suspects: --drop, --relabel or --weights, or give --decisions FILE."
        )
    decided = decisions or {}
    unknown = sorted({*decided} - {*index.tolist()})
    if unknown:
        raise ValueError(
            f"There are decisions on {rows_text(unknown)}, and the run has no such rows; take those that the page of "
            "this run's audit saved."
        )
    odd = sorted({*decided.values()} - {KEEP, DROPPED, *range(len(class_names))})
    if odd:
        raise ValueError(
            f"A decision is the class {odd[0]}; there are {len(class_names)} classes, from 0 on, "
            f"{DROPPED} drops a row, and {KEEP} keeps it."
        )
    labels, choice = given.copy(), probabilities.argmax(axis=1)
    rows = np.arange(len(given))
    lost = [entry["class"] for entry in lost_classes(choice, given, len(class_names))]
    suspects = suspects & ~np.isin(given, lost)
    own, best = probabilities[rows, given], probabilities.max(axis=1)
    weights = own.copy() if how == "weights" else None
    changes: list[Change] = []

    def note(row: int, rule: str) -> None:
        new = int(labels[row])
        changes.append(
            Change(
                int(index[row]),
                files[row] if files is not None else "",
                class_names[given[row]],
                None if new == DROPPED else class_names[new],
                float(own[row] if new in (DROPPED, given[row]) else probabilities[row, new]),
                rule,
                None if weights is None else float(weights[row]),
            )
        )

    for row in rows.tolist():
        verdict = decided.get(int(index[row]))
        if verdict is not None:
            labels[row] = given[row] if verdict == KEEP else verdict
            if weights is not None:
                weights[row] = 1.0
            if verdict != KEEP or weights is not None:
                note(row, "a person's decision")
        elif how == "weights":
            note(row, "weight: p of the given label")
        elif suspects[row] and how == "relabel" and best[row] >= RELABEL_FROM:
            labels[row] = choice[row]
            note(row, f"suspect, suggested label with p of at least {RELABEL_FROM:g}")
        elif suspects[row] and how is not None:
            labels[row] = DROPPED
            note(
                row, "suspect" if how == "drop" else f"suspect, no label with p of at least {RELABEL_FROM:g}"
            )
    return Cleaning(labels, weights, tuple(changes))


def lost_class_warnings(probabilities: FloatArray, given: IntArray, class_names: Sequence[str]) -> list[str]:
    """A sentence on the classes of which a judge finds no wrong labels, since it hardly ever predicts them; or none."""
    lost = lost_classes(probabilities.argmax(axis=1), given, len(class_names))
    if not lost:
        return []
    named = [f"{class_names[e['class']]} ({e['given']:,} rows, {e['predicted']:,} predicted)" for e in lost]
    return [
        f"The judge hardly ever predicts {_counted(named)}. That it contradicts their labels says nothing of them: "
        "--drop and --relabel keep their rows, and a person can decide with --review."
    ]


def emptied_class_warnings(cleaning: Cleaning, given: IntArray, class_names: Sequence[str]) -> list[str]:
    """A sentence on the classes that lose most of their rows, dropped or relabelled; or none."""
    classes = len(class_names)
    before, gone = (np.bincount(rows, minlength=classes) for rows in (given, given[cleaning.labels != given]))
    named = [
        f"{class_names[label]} ({gone[label]:,} of {before[label]:,})"
        for label in np.flatnonzero(2 * gone > before).tolist()
    ]
    if not named:
        return []
    return [
        f"Most rows are dropped or get another label of {_counted(named)}. Look at them in changes.csv before training "
        "on the rest; --threshold P takes fewer suspects, and --weights keeps all rows."
    ]


def _counted(named: Sequence[str]) -> str:
    """`1 class: a`, or `3 classes: a, b, c`, the first of them where there are many."""
    more = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    return f"{len(named)} class{'' if len(named) == 1 else 'es'}: {', '.join([*named[:_MOST_NAMED], *more])}"


def read_decisions(path: str | os.PathLike[str], class_names: Sequence[str]) -> dict[int, int]:
    """A person's decisions from the file that the review page saves: by row number `KEEP`, `DROPPED` or a class.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not such a file, or names a class that the data has not.
    """
    content = read_object(Path(path)).get("decisions")
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise ValueError(
            f"{path} holds no decisions; save it from the page that `jal-hf audit RUN --review` opens."
        )
    names = list(class_names)
    found: dict[int, int] = {}
    for number, entry in content.items():
        verdict, label = entry.get("verdict"), entry.get("label")
        if not number.isdigit() or not (verdict in _VERDICTS or (verdict == "label" and label in names)):
            shown = shortened(label if verdict == "label" else verdict)
            raise ValueError(
                f"{path}: the decision on row {shortened(number)} is {shown!r}, "
                f"neither keep, nor drop, nor a class.{did_you_mean(label, names)}"
            )
        found[int(number)] = _VERDICTS[verdict] if verdict in _VERDICTS else names.index(label)
    return found
