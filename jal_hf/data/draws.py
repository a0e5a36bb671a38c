"""Random numbers of an image: a pure function of (seed, epoch, row number), whatever the batch or process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jal_hf.noise.keyed import hashes, scalar_key, uniforms

# Keeps these draws apart from those of the label noise under the same seed.
_AUGMENTATION = 0x61756770656E
_SELECTION = 0x73656C656374
_STEP = np.uint64(0x9E3779B97F4A7C15)


def keyed_uniforms(
    index: npt.NDArray[np.int64], seed: int, epoch: int, count: int
) -> npt.NDArray[np.float64]:
    """`count` uniform numbers in [0, 1) for each row, shape (B, count).

    Column k of a row is the same whatever `count` is and whichever other rows stand in the batch.
    """
    key = scalar_key(seed, _AUGMENTATION)
    rows = hashes(key, np.asarray(index, dtype=np.int64), stream=epoch)
    steps = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return uniforms(key, rows[:, None] + steps[None, :])


def selection_order(index: npt.NDArray[np.int64], seed: int, purpose: int) -> npt.NDArray[np.int64]:
    """Positions of the rows in random order, (N,); which of two comes first depends on them and the seed.

    Args:
        index: original row numbers, shape (N,).
        seed: names the order.
        purpose: keeps choices made for different reasons apart.
    """
    return np.argsort(hashes(scalar_key(seed, _SELECTION), index, stream=purpose), kind="stable")
