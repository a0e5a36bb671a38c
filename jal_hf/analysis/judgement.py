"""What a judge's probabilities tell of the labels: how many are wrong, which ones, and how far to believe it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONFIDENT_SHARE, FEWEST_CONFIDENT = 0.2, 50
LEAST_AGREEMENT = 0.5
"""A judge that saw the labels and still agrees with fewer of them than this has not learned the classes."""


@dataclass(frozen=True)
class Judgement:
    """How many labels look wrong, and how good the judge is; fractions in [0, 1].

    Attributes:
        agreement: share of rows whose given label is the judge's first choice.
        majority: share of the most frequent given label, which a judge that knows nothing reaches.
        noise_rate: estimated share of wrong labels; None where the judge is too weak to tell.
        implied_accuracy: the judge's estimated accuracy on clean labels; None likewise.
        is_out_of_sample: whether no row was judged by a model that had seen its label.
        reason: one sentence on how far this can be believed.
    """

    agreement: float
    majority: float
    noise_rate: float | None
    implied_accuracy: float | None
    is_out_of_sample: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return asdict(self)


def judge_labels(
    probabilities: FloatArray, given: IntArray, *, is_out_of_sample: bool, is_useful: bool = False
) -> Judgement:
    """Estimate the share of wrong labels.

    Out of sample by the rows that the judge is surest of: there it is nearly always right, so the labels that it
    contradicts are about all wrong, and their share among its most confident fifth estimates the noise, as long as that
    doesn't depend on how clear an image is; all its contradictions would count its own mistakes as well. A judge that
    was trained on the labels is surest of those that it agrees with; there all contradictions count.

    Args:
        probabilities: (N, K).
        given: labels (N,).
        is_out_of_sample: each row was judged by a model that never saw its label.
        is_useful: the judge is known to be good from elsewhere, such as a test set.
    """
    rows, classes = probabilities.shape
    choice = probabilities.argmax(axis=1)
    agrees = choice == given
    agreement = float(agrees.mean())
    majority = float(np.bincount(given, minlength=classes).max() / rows)
    least = min(2.0 * majority, LEAST_AGREEMENT) if is_out_of_sample or is_useful else LEAST_AGREEMENT
    seen = "labels that it never saw" if is_out_of_sample else "labels that it was trained on"
    agreed = f"The judge agrees with {100 * agreement:.1f} % of {seen}"
    if agreement < least or agreement <= majority + 2.0 * np.sqrt(majority / rows):
        reason = (
            f"{agreed}, too few to tell wrong labels from its own mistakes, so no noise rate is named. Train longer, "
            "start from pretrained weights (jal-hf finetune), or judge by folds."
        )
        return Judgement(agreement, majority, None, None, is_out_of_sample, reason)
    if not is_out_of_sample:
        rate = 1.0 - agreement
        reason = (
            f"{agreed}; the {100 * rate:.1f} % that it contradicts are taken for wrong. It may know other wrong "
            "ones by heart: judging by folds, or by the probe of jal-hf finetune, is surer."
        )
        return Judgement(agreement, majority, rate, None, is_out_of_sample, reason)
    count = min(rows, max(FEWEST_CONFIDENT, round(CONFIDENT_SHARE * rows)))
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[:count]
    rate = float(min(1.0 - agrees[surest].mean(), 1.0 - agreement))
    implied = implied_accuracy(agreement, rate, classes)
    spread = 100 * np.sqrt(rate * (1 - rate) / count)
    reason = (
        f"{agreed}, and is right on about {100 * implied:.0f} % of clean ones if the {100 * rate:.0f} % (+- "
        f"{2 * spread:.0f}) that it contradicts where it is surest are wrong."
    )
    return Judgement(agreement, majority, rate, implied, is_out_of_sample, reason)


def implied_accuracy(noisy_accuracy: float, noise_rate: float, num_classes: int) -> float:
    """Accuracy on clean labels that an accuracy on noisy ones stands for, were the wrong labels spread evenly.

    A model of accuracy a meets a noisy label of rate r with a (1 - r) + (1 - a) r / (K - 1).

    Args:
        noisy_accuracy: in [0, 1].
        noise_rate: r, in [0, 1].
        num_classes: K.
    """
    by_chance = noise_rate / max(1, num_classes - 1)
    gain = 1.0 - noise_rate - by_chance
    return 1.0 if gain <= 0 else float(np.clip((noisy_accuracy - by_chance) / gain, 0.0, 1.0))


def find_suspects(
    probabilities: FloatArray, given: IntArray, judgement: Judgement, threshold: str | float = "auto"
) -> npt.NDArray[np.bool_]:
    """Rows (N,) whose label looks wrong: the judge prefers another one, and p of the given label is small.

    Args:
        threshold: `auto` takes as many rows as the estimated noise rate says, those of the smallest p of the given
            label; a number takes all rows whose p lies below it.

    Raises:
        ValueError: `auto` without an estimate, or a number outside (0, 1].
    """
    own = probabilities[np.arange(len(given)), given]
    contradicted = probabilities.argmax(axis=1) != given
    if threshold == "auto":
        if judgement.noise_rate is None:
            raise ValueError(
                f"There is no automatic threshold: {judgement.reason} Or give a threshold as a number."
            )
        chosen = np.zeros(len(given), dtype=bool)
        chosen[np.argsort(own, kind="stable")[: round(judgement.noise_rate * len(given))]] = True
        return np.asarray(chosen & contradicted)
    return np.asarray((own < checked_threshold(threshold)) & contradicted)


def checked_threshold(threshold: str | float) -> float:
    """A threshold as a number, infinity for `auto`; ValueError for one outside (0, 1]."""
    if threshold == "auto":
        return float("inf")
    try:
        limit = float(threshold)
    except ValueError:
        limit = 0.0
    if not 0.0 < limit <= 1.0:
        raise ValueError(f"The threshold is {threshold!r}; give 'auto' or a probability in (0, 1].")
    return limit
