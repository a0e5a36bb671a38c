"""A linear classifier on frozen features, with a robust loss: the judge of the labels, and a model to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jal_hf.data.progress import progress_line
from jal_hf.losses import create_loss

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

FOLDS = 5
LOSS = "nce+agce"
_RATE, _DECAY, _CLIP = 1.28, 0.01, 5.0
"""Learning rate times the width, so that logits move alike at any width; decay in a step; norm of the gradient."""
_EPOCHS, _FEWEST_EPOCHS, _MOST_ROWS_SEEN, _FEWEST_STEPS = 20, 3, 2_000_000, 160
_BATCH, _LARGE_BATCH, _LARGE = 128, 1024, 50_000
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Probe:
    """`weight` (K, d) and `bias` (K,) of a linear classifier on raw features."""

    weight: Tensor
    bias: Tensor

    def probabilities(self, features: npt.NDArray[np.floating], rows: IntArray) -> FloatArray:
        """(M, K) for the rows asked for."""
        found = np.empty((len(rows), len(self.bias)), dtype=np.float32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            logits = _rows(features, rows[part]) @ self.weight.T + self.bias
            found[part] = logits.softmax(dim=1).numpy()
        return found


def fit_probe(
    features: npt.NDArray[np.floating], labels: IntArray, rows: IntArray, num_classes: int, seed: int = 0
) -> Probe:
    """Train on some rows with a bounded loss and AdamW, whose strong decay keeps many weights from memorising few rows.

    Features are scaled as a whole to a length of sqrt(d), so that one learning rate suits any backbone. Few passes
    suffice where there are many rows.
    """
    width = features.shape[1]
    sample = _rows(features, rows[:: max(1, len(rows) // 2048)])
    scale = width**0.5 / float(sample.norm(dim=1).mean().clamp(min=1e-6))
    criterion = create_loss(LOSS)
    size = _BATCH if len(rows) < _LARGE else _LARGE_BATCH
    epochs = int(np.clip(_MOST_ROWS_SEEN // len(rows), _FEWEST_EPOCHS, _EPOCHS))
    epochs = max(epochs, _FEWEST_STEPS * size // len(rows))
    layer = nn.Linear(width, num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=_RATE / width, weight_decay=_DECAY * width / _RATE)
    steps = epochs * -(-len(rows) // size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
    random = np.random.default_rng(seed)
    targets = torch.from_numpy(labels)
    for _ in range(epochs):
        order = random.permutation(rows)
        for start in range(0, len(order), size):
            batch = np.sort(order[start : start + size])
            loss = criterion(layer(_rows(features, batch) * scale), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(layer.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
    return Probe(layer.weight.detach() * scale, layer.bias.detach())


def out_of_fold(
    features: npt.NDArray[np.floating],
    labels: IntArray,
    rows: IntArray,
    num_classes: int,
    *,
    groups: IntArray | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> FloatArray:
    """Probabilities (M, K) of each row by a probe that never saw it, nor an image equal to it."""
    folds = fold_numbers(labels[rows], None if groups is None else groups[rows], seed)
    found = np.empty((len(rows), num_classes), dtype=np.float32)
    with progress_line(FOLDS, "probe", "fold", disable=quiet) as line:
        for fold in range(FOLDS):
            held = folds == fold
            if held.any():
                probe = fit_probe(features, labels, rows[~held], num_classes, seed + fold)
                found[held] = probe.probabilities(features, rows[held])
            line.update()
    return found


def row_weights(own: FloatArray, agreement: float, noise_rate: float | None) -> FloatArray:
    """How much each training row counts, (N,) in [0, 1]: p of its given label, as far as the labels deserve it.

    A judge contradicts wrong labels, and right ones of images that are hard for it. Where at least half of what it
    contradicts is wrong by its own estimate, a row weighs p of its label; below that the weights fade towards one, and
    labels without a sign of noise, or a judge too weak to tell, leave all rows alike.

    Args:
        own: (N,), out-of-fold p of each given label.
        agreement: share of labels that the judge agrees with.
        noise_rate: estimated share of wrong labels; None where it cannot be told.
    """
    contradicted = max(1.0 - agreement, 1e-6)
    trust = min(1.0, 2.0 * (noise_rate or 0.0) / contradicted)
    return np.asarray(1.0 - trust * (1.0 - own), dtype=np.float32)


def fold_numbers(labels: IntArray, groups: IntArray | None, seed: int = 0) -> IntArray:
    """A fold for each row, each class spread evenly over them; rows of one group (not -1) share one."""
    random = np.random.default_rng(seed)
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        folds[members] = (np.arange(len(members)) + random.integers(FOLDS)) % FOLDS
    if groups is not None:
        _, first, member = np.unique(groups, return_index=True, return_inverse=True)
        folds = np.where(groups < 0, folds, folds[first][member])
    return folds


def _rows(features: npt.NDArray[np.floating], rows: IntArray) -> Tensor:
    return torch.from_numpy(np.asarray(features[rows], dtype=np.float32))
