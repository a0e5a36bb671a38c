"""What was asked of the noise and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from jal_hf.ground.files import JsonObject
from jal_hf.noise.base import IGNORE_INDEX, LabelNoise, check_labels


@dataclass(frozen=True)
class NoiseReport:
    """One draw of label noise, asked and realised. Rates are fractions in [0, 1].

    Attributes:
        spec: Canonical spec of the noise.
        kind: Its kind.
        seed: Seed of the draw.
        mode: `exact`, `iid` or `fixed` (labels from a file).
        asked_rate: The rate of the spec; for matrix and file kinds, what they ask of these rows.
        expected_rate: Share of wrong labels the noise asks for over all rows. It differs from `asked_rate`
            where the rate concerns some classes only (asymmetric) or the true class may be drawn again.
        realised_rate: Share of labels that are wrong.
        transition_matrix: Asked matrix, row = clean class; None when the noise depends on the instance.
        realised_matrix: Realised matrix; the row of a class that never occurs is zero.
        labels_sha256: SHA-256 of the noisy labels as little-endian int64 in the order of the dataset.
        rows: Number of labels, rows without label (-100) not counted.
    """

    spec: str
    kind: str
    seed: int
    mode: str
    asked_rate: float
    expected_rate: float
    realised_rate: float
    transition_matrix: list[list[float]] | None
    realised_matrix: list[list[float]]
    labels_sha256: str
    rows: int

    def to_dict(self) -> JsonObject:
        """Plain values, ready for JSON; matrices are not copied, for those of many classes are large."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NoiseReport:
        """Read a report back, from `to_dict` or from a record that holds more than it.

        Raises:
            ValueError: A value is missing; the sentence names it.
        """
        names = [item.name for item in fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"The record of the noise has no {missing[0]!r}; it was not written by jal_hf.")
        return cls(**{name: values[name] for name in names})

    def __str__(self) -> str:
        text = f"noise {self.spec} ({self.mode}, seed {self.seed}): asked {self.asked_rate:.2%}"
        if abs(self.expected_rate - self.asked_rate) > 5e-5:
            text += f" ({self.expected_rate:.2%} of all rows)"
        wrong = round(self.realised_rate * self.rows)
        verb = "is" if wrong == 1 else "are"
        return f"{text}, realised {self.realised_rate:.3%} ({wrong:,} of {self.rows:,} labels {verb} wrong)"


def labels_sha256(labels: Any) -> str:
    """SHA-256, in hex, of the labels as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()


def confusion_counts(clean: Any, noisy: Any, num_classes: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often clean class i is labelled j: (K, K) int64."""
    flat = np.asarray(clean, dtype=np.int64) * num_classes + np.asarray(noisy, dtype=np.int64)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def noise_report(clean: Any, noisy: Any, noise: LabelNoise, seed: int = 0) -> NoiseReport:
    """Compare clean and noisy labels, in the order of the dataset.

    Args:
        clean: N integers, the labels before the noise.
        noisy: N integers, the labels after it.
        noise: What made them.
        seed: The seed of the draw.

    Raises:
        ValueError: The lengths differ, or a label is out of range.
    """
    before, after = check_labels(clean, noise.num_classes), check_labels(noisy, noise.num_classes)
    if len(before) != len(after):
        raise ValueError(
            f"There are {len(before)} clean labels and {len(after)} noisy ones; give one for each row."
        )
    known = (before != IGNORE_INDEX) & (after != IGNORE_INDEX)
    num_classes = noise.num_classes or int(max(before.max(initial=0), after.max(initial=0))) + 1
    counts = confusion_counts(before[known], after[known], num_classes)
    total = int(counts.sum())
    realised = (total - int(np.trace(counts))) / total if total else 0.0
    asked_matrix = noise.transition_matrix()
    expected = noise.expected_rate(counts.sum(axis=1))
    if expected is None:  # a file without clean labels asks for what it gives
        expected = realised
    return NoiseReport(
        spec=noise.spec,
        kind=noise.kind,
        seed=int(seed),
        mode=noise.mode,
        asked_rate=float(noise.rate) if noise.has_rate else expected,
        expected_rate=expected,
        realised_rate=realised,
        transition_matrix=None if asked_matrix is None else asked_matrix.tolist(),
        realised_matrix=(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).tolist(),
        labels_sha256=labels_sha256(after),
        rows=total,
    )
