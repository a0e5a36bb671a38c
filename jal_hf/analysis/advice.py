"""Which loss suits a dataset and its noise, and why: the theory's answer, then the papers' figures."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jal_hf.analysis.paper_results import PaperColumn, nearest_column
from jal_hf.losses import create_loss, list_losses, loss_info, loss_preset
from jal_hf.noise import noise_family

Matrix = npt.NDArray[np.float64]
SUGGESTIONS = 3
MARGIN = 1.5


@dataclass(frozen=True)
class NoiseFacts:
    """A noise as advice needs it. `matrix` is (K, K), row true class; `rate` in [0, 1] over all rows.

    `kind` is that of a noise spec; `source` says whence the matrix comes, as a phrase.
    """

    kind: str
    rate: float
    matrix: Matrix
    source: str


@dataclass(frozen=True)
class Blocked:
    """A class whose own label does not dominate: `other` is given to it at least as often."""

    label: int
    other: int
    own_share: float
    other_share: float


@dataclass(frozen=True)
class LossAdvice:
    """One loss under the noise, with the parameters of the nearest preset."""

    name: str
    asymmetric: bool
    parameters: dict[str, Any]
    source: str


@dataclass(frozen=True)
class Suggestion:
    """A loss worth training, with parameters and the reason as a sentence."""

    name: str
    preset: str
    parameters: dict[str, Any]
    reason: str

    @property
    def flags(self) -> str:
        """The flags of `jal-hf train` that train it: where parameters are not the preset's, these too."""
        of_preset = loss_preset(self.name, self.preset).params
        changed = {key: value for key, value in self.parameters.items() if value != of_preset.get(key)}
        own = ["--loss_args", json.dumps(changed)] if changed else []
        return shlex.join(["--loss", self.name, "--preset", self.preset, *own])


@dataclass(frozen=True)
class Advice:
    """`minimum_a` is inf, and `suggestions` empty, when no class label dominates somewhere (`blocked`)."""

    num_classes: int
    noise: NoiseFacts
    minimum_a: float
    blocked: tuple[Blocked, ...]
    losses: tuple[LossAdvice, ...]
    suggestions: tuple[Suggestion, ...]
    expected: PaperColumn


def advise(noise: NoiseFacts, dataset: str = "") -> Advice:
    """Advice for data under this noise; `dataset` is its name, for presets and the papers' tables.

    ValueError when the matrix is not (K, K) with rows that sum to 1.
    """
    from jal_hf.theory import is_asymmetric, minimum_a

    matrix = _checked(noise.matrix)
    classes = len(matrix)
    blocked = blocked_classes(matrix)
    least = math.inf if blocked else float(minimum_a(matrix))
    expected = nearest_column(noise.kind, _table_rate(noise), classes, dataset)
    preset = preset_for(dataset, expected)
    rows = hardest_rows(matrix)
    losses = tuple(
        LossAdvice(
            name,
            asymmetric=not blocked
            and all(is_asymmetric(create_loss(name, preset=preset), row) for row in rows),
            parameters=dict(loss_preset(name, preset).params),
            source=loss_preset(name, preset).source,
        )
        for name in list_losses()
        if not loss_info(name).reported_only and not loss_info(name).random
    )
    suggestions = () if blocked else _suggest(losses, expected, preset, least)
    return Advice(classes, noise, least, blocked, losses, suggestions, expected)


def hardest_rows(matrix: Matrix) -> list[list[float]]:
    """The rows that ask most of a loss: least ratio to the next label, least lead over it, other labels least alike.

    Every condition of the papers is a matter of one of the first two, what symmetry alone gives of the third. No
    loss knows one class from another, so one row of symmetric noise speaks for all.
    """
    own = np.diag(matrix)
    others = matrix.copy()
    np.fill_diagonal(others, -1.0)
    largest = others.max(axis=1)
    ratio = own / np.maximum(largest, 1e-12)
    np.fill_diagonal(others, np.inf)
    spread = largest - others.min(axis=1)
    hardest = {int(ratio.argmin()), int((own - largest).argmin()), int(spread.argmax())}
    return [matrix[k].tolist() for k in sorted(hardest)]


def blocked_classes(matrix: Matrix) -> tuple[Blocked, ...]:
    """Classes whose row has another label at least as likely as their own."""
    found = []
    for label, row in enumerate(matrix):
        others = row.copy()
        others[label] = -1.0
        other = int(others.argmax())
        if row[other] >= row[label] - 1e-12:
            found.append(Blocked(label, other, float(row[label]), float(row[other])))
    return tuple(found)


def preset_for(dataset: str, expected: PaperColumn) -> str:
    """The preset dataset named in `dataset`, else that of the nearest column of the papers' tables."""
    flat = dataset.lower().replace("-", "").replace("_", "")
    for name in ("cifar100", "cifar10", "webvision", "clothing1m", "mnist", "digits"):
        if name in flat:
            return "webvision-mini" if name == "webvision" else name
    return expected.dataset.lower().replace("-", "").removesuffix("n")


def _suggest(
    losses: tuple[LossAdvice, ...], expected: PaperColumn, preset: str, least: float
) -> tuple[Suggestion, ...]:
    by_name = {loss.name: loss for loss in losses}
    ranked = [row for row in expected.ranked() if row[0] in by_name]
    chosen: list[Suggestion] = []
    for name, accuracy, _ in ranked:
        loss = by_name[name]
        parameters = dict(loss.parameters)
        reason = f"{accuracy:.2f} % on {expected.dataset}, {expected.noise} ({expected.table})"
        a = parameters.get("a")
        if moves_a(name) and a is not None and a < least:
            parameters["a"] = float(f"{MARGIN * least:.3g}")
            reason += f"; the preset's a = {a:g} lies below the smallest safe a, so a = {parameters['a']:g}"
        elif not loss.asymmetric:
            reason += "; its condition does not hold here for every class, the papers' figures speak for it"
        elif moves_a(name):
            reason += f"; a = {a:g} is safe, the smallest being {least:.3g}"
        chosen.append(Suggestion(name, preset, parameters, reason))
    return tuple(chosen[:SUGGESTIONS])


def moves_a(name: str) -> bool:
    """Whether `minimum_a` is about the loss's own a, so that advice may replace the preset's."""
    part = create_loss(name).with_a()
    return part is not None and part.raises_a_to_safety


def _table_rate(noise: NoiseFacts) -> float:
    """The rate as the papers name it: asymmetric noise by the share of flips within the classes that flip."""
    if noise_family(noise.kind) != "asymmetric":
        return noise.rate
    flips = 1.0 - np.diag(noise.matrix)
    affected = flips > 0.5 * flips.max()
    return float(flips[affected].mean()) if flips.max() > 0 else 0.0


def _checked(matrix: Matrix) -> Matrix:
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise ValueError(f"A transition matrix has shape (K, K) with K of at least 2, not {values.shape}.")
    if not np.isfinite(values).all() or (values < 0).any() or np.abs(values.sum(axis=1) - 1.0).max() > 1e-6:
        raise ValueError("Each row of a transition matrix holds shares of at least 0 that sum to 1.")
    return values


def kind_of_matrix(matrix: Matrix) -> str:
    """`asymmetric` when wrong labels of most classes fall mainly on one other class, else `symmetric`."""
    others = matrix - np.diag(np.diag(matrix))
    total = others.sum(axis=1)
    noisy = total > 0.02
    if not noisy.any():
        return "none"
    concentrated = others[noisy].max(axis=1) > 0.6 * total[noisy]
    return "asymmetric" if concentrated.mean() > 0.5 and len(matrix) > 2 else "symmetric"
