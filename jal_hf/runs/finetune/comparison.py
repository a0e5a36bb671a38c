"""What fine-tuning tells: of the data it found, and of the models it compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jal_hf.analysis.judgement import Judgement, implied_accuracy
from jal_hf.data import NoisyDatasetDict
from jal_hf.data.column_values import integer_column
from jal_hf.data.labels import IGNORE_INDEX
from jal_hf.ground.files import JsonObject
from jal_hf.ground.sentences import counted
from jal_hf.runs.finetune.candidates import Candidate


def refuse_ignored_labels(data: NoisyDatasetDict) -> None:
    """Nothing, where every row has a class: each is judged.

    Raises:
        ValueError: Some carry the label of rows that a loss leaves out.
    """
    for name, rows in data.items():
        count = int((integer_column(rows, data.label_column) == IGNORE_INDEX).sum())
        if count:
            raise ValueError(
                f"{count} row(s) of split {name!r} carry {IGNORE_INDEX}, which leaves a row out of the loss, and "
                "fine-tuning judges every row. Take them out of the data."
            )


def loaded_line(data: NoisyDatasetDict) -> str:
    """The rows that were found, held back and left out, and what is odd about them."""
    facts, counts = data.facts, _class_counts(data)
    parts = [
        f"{counted(len(data['train']), 'training row')} of {data.num_classes} classes "
        f"({min(counts):,} to {max(counts):,} each)",
        f"{len(data['validation']):,} held back" if "validation" in data else "none held back",
        f"{facts.skipped_images:,} {'without text' if facts.image_column == 'text' else 'unreadable'}",
        f"{facts.unlabelled_rows:,} without label",
        f"{counted(facts.shared_rows, 'test row')} also in the training rows",
        f"{counted(facts.contradicting_rows, 'row')} whose equal has another label",
    ]
    return "; ".join(part for number, part in enumerate(parts) if number < 2 or not part.startswith("0 "))


def _class_counts(data: NoisyDatasetDict) -> list[int]:
    labels = integer_column(data["train"], data.label_column)
    return [int(count) for count in np.bincount(labels, minlength=data.num_classes)]


def comparison_section(
    data: NoisyDatasetDict,
    judgement: Judgement,
    suspects: int | None,
    found: Mapping[str, Candidate],
    best: Candidate,
    reason: str,
) -> JsonObject:
    """What the record keeps of the fine-tuning, accuracies and rates as fractions."""
    rate = judgement.noise_rate

    def row(one: Candidate) -> JsonObject:
        noisy = one.accuracy if one.agrees.size else None
        return {
            "name": one.name,
            "loss": one.record.loss.get("name"),
            "validation_accuracy": noisy,
            "implied_accuracy": None
            if noisy is None or rate is None
            else implied_accuracy(noisy, rate, data.num_classes),
            "test_accuracy": one.record.headline.get("accuracy"),
            "chosen": one is best,
        }

    counts = _class_counts(data)
    return {
        "rows": len(data["train"]),
        "validation_rows": len(data["validation"]) if "validation" in data else 0,
        "class_counts": {"smallest": min(counts), "largest": max(counts)},
        "unreadable_images": data.facts.skipped_images,
        "shared_rows": data.facts.shared_rows,
        "contradicting_rows": data.facts.contradicting_rows,
        "judgement": judgement.to_dict(),
        "suspects": suspects,
        "candidates": [row(one) for one in found.values()],
        "reason": reason,
    }


def lines_of(section: Mapping[str, Any]) -> list[str]:
    """The comparison for a reader, a line a candidate."""

    def shown(value: float | None) -> str:
        return "      -" if value is None else f"{100 * value:5.1f} %"

    lines = [f"{'':<26} noisy validation   implied clean      test"]
    for row in section["candidates"]:
        mark = "*" if row["chosen"] else " "
        figures = [shown(row[name]) for name in ("validation_accuracy", "implied_accuracy", "test_accuracy")]
        lines.append(f"{mark} {row['name']:<24} {figures[0]:>16} {figures[1]:>15} {figures[2]:>9}")
    chosen = next(row["name"] for row in section["candidates"] if row["chosen"])
    return [*lines, f"chosen: {chosen} ({section['reason']})"]
