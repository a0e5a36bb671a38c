"""Keyed random numbers: a draw is a pure function of (seed, key, stream), never of the order of calls.

Each number is a hash of its own key (SplitMix64's finaliser, twice), so a row keeps its draw under any
batching, sharding or shuffling, on any version of numpy, and no generator state is kept anywhere.

Reference: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from __future__ import annotations

import hashlib
import operator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]
Float64 = NDArray[np.float64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def check_seed(seed: SupportsIndex) -> int:
    """Return the seed as an int in [0, 2**64). Raises ValueError or TypeError outside of it."""
    if isinstance(seed, bool):
        raise TypeError(f"The seed is {seed!r}, a bool; give an integer of at least 0.")
    try:
        value = operator.index(seed)
    except TypeError as error:
        raise TypeError(f"The seed is {seed!r}; give an integer of at least 0.") from error
    if not 0 <= value <= _MASK:
        raise ValueError(f"The seed is {value}; it must be at least 0 and below 2**64.")
    return value


def scalar_key(*parts: int) -> int:
    """Hash integers into one 64-bit key."""
    state = _GOLDEN
    for part in parts:
        state = _mix_scalar((state ^ (part & _MASK)) + _GOLDEN)
    return state


def hashes(seed: int, keys: NDArray[Any], stream: int = 0) -> UInt64:
    """Hash each 64-bit key under (seed, stream): an array of uint64 shaped like `keys`."""
    first, second = scalar_key(seed, stream, 1), scalar_key(seed, stream, 2)
    state = keys.astype(np.uint64)  # always a copy: the steps below work in place
    state *= np.uint64(_GOLDEN)
    state += np.uint64(first)
    _mix(state)
    state ^= np.uint64(second)
    return _mix(state)


def uniforms(seed: int, keys: NDArray[Any], stream: int = 0) -> Float64:
    """Draw one number in [0, 1) for each key, a multiple of 2**-53."""
    return (hashes(seed, keys, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, keys: NDArray[Any], stream: int = 0) -> Float64:
    """Draw one standard normal number for each key (Box and Muller)."""
    radius = np.sqrt(-2.0 * np.log1p(-uniforms(seed, keys, 2 * stream)))
    radius *= np.cos(2.0 * np.pi * uniforms(seed, keys, 2 * stream + 1))
    return radius


def row_keys(index: Any, rows: int) -> UInt64:
    """Turn row numbers or ids into 64-bit keys.

    Integers stand for themselves; strings are hashed (BLAKE2b, 8 bytes).

    Args:
        index: One integer or string for each row, or None for 0 .. rows-1.
        rows: How many labels there are.

    Raises:
        ValueError: The number of ids is not the number of rows.
        TypeError: The ids are neither integers nor strings.
    """
    if index is None:
        return np.arange(rows, dtype=np.uint64)
    values = np.asarray(index)
    if values.shape != (rows,):
        raise ValueError(
            f"There are {rows} labels but the index has shape {values.shape}; give one id for each."
        )
    if values.dtype.kind in "iu":
        return values.astype(np.uint64)
    if rows == 0:
        return np.zeros(0, dtype=np.uint64)
    texts = values.tolist()
    if all(isinstance(text, str) for text in texts):
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
        return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    raise TypeError(f"The index holds {values.dtype} values; give integers or strings, one for each row.")


def _mix(state: UInt64) -> UInt64:
    state ^= state >> np.uint64(30)
    state *= np.uint64(_FIRST)
    state ^= state >> np.uint64(27)
    state *= np.uint64(_SECOND)
    state ^= state >> np.uint64(31)
    return state


def _mix_scalar(state: int) -> int:
    state &= _MASK
    state = ((state ^ (state >> 30)) * _FIRST) & _MASK
    state = ((state ^ (state >> 27)) * _SECOND) & _MASK
    return state ^ (state >> 31)
