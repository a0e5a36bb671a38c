"""Parts of a split that depend on (seed, row number) alone, not on the order of the rows."""

from __future__ import annotations

import datasets
import numpy as np
import numpy.typing as npt

from jal_hf.data.column_values import integer_column, row_numbers
from jal_hf.data.draws import selection_order

_SUBSET, _VALIDATION = 1, 2


def take_subset(split: datasets.Dataset, count: int | None, seed: int, name: str) -> datasets.Dataset:
    """`count` rows drawn at random, in their original order; all of them when `count` is None or larger.

    Raises:
        ValueError: `count` is below 1.
    """
    if count is None:
        return split
    if count < 1:
        raise ValueError(
            f"The number of {name} samples must be at least 1, not {count}; leave it out to take all."
        )
    if count >= len(split):
        return split
    return split.select(np.sort(selection_order(row_numbers(split), seed, _SUBSET)[:count]))


def check_fraction(fraction: float) -> float:
    """Give the share back.

    Raises:
        ValueError: not in [0, 1).
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"val_fraction is a share of the training rows in [0, 1), not {fraction}.")
    return fraction


def cut_validation(
    split: datasets.Dataset,
    label_column: str,
    fraction: float,
    seed: int,
    groups: npt.NDArray[np.int64] | None = None,
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """Split training rows into (rest, validation): round(fraction * n) rows of each label, noise included.

    Args:
        groups: (N,), rows of one number that is not -1 hold the same image, and stay together on one side.

    Raises:
        ValueError: a share outside [0, 1), or one so small or large that a part stays empty.
    """
    if check_fraction(fraction) == 0.0:
        return split, None
    labels = integer_column(split, label_column)
    order = selection_order(row_numbers(split), seed, _VALIDATION)
    is_held_back = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        is_held_back[members[: round(fraction * len(members))]] = True
    if groups is not None:
        _, first, member = np.unique(groups, return_index=True, return_inverse=True)
        is_held_back = np.where(groups < 0, is_held_back, is_held_back[first][member])
    if not is_held_back.any() or is_held_back.all():
        raise ValueError(
            f"val_fraction={fraction} of {len(labels)} training rows leaves an empty part; take another "
            f"share."
        )
    return split.select(np.flatnonzero(~is_held_back)), split.select(np.flatnonzero(is_held_back))
