"""Images that occur more than once, byte for byte, in a split, across splits or under several labels."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jal_hf.data.column_values import integer_column
from jal_hf.data.images.encoded import BLOCK, stored_blocks
from jal_hf.ground.image_files import Encoded

_MOST_ROWS = 200_000
_PROBE = 4096

Groups = npt.NDArray[np.int64]
Keys = list[Hashable]
Digest = Callable[[Encoded, Hashable], Hashable]


@dataclass(frozen=True)
class Duplicates:
    """Which rows hold the same encoded image.

    Attributes:
        groups: by split, (N,): rows of equal numbers hold the same image; -1 where no other row has it.
        contradicting: rows of the first split whose image it holds under another label too.
        shared: by further split, how many of its rows hold an image of the first split.
    """

    groups: Mapping[str, Groups]
    contradicting: int
    shared: Mapping[str, int]

    def sentences(self) -> list[str]:
        """What was found, for a list of warnings."""
        first = next(iter(self.groups))
        found = [
            f"{count} row(s) of split {name!r} hold an image that is also in {first!r}."
            for name, count in self.shared.items()
            if count
        ]
        if self.contradicting:
            found.append(
                f"{self.contradicting} row(s) of split {first!r} hold an image that is there under another label too."
            )
        return found


def find_duplicates(
    splits: Mapping[str, datasets.Dataset], image_column: str, label_column: str
) -> Duplicates:
    """Compare all images of all splits by their encoded bytes.

    Looks at the first 200,000 rows of each split. Images that no other one equals in length are not read; of those in
    files of their own 4 kB are read first.

    Args:
        splits: the training split first.
        image_column: name of the images.
        label_column: integer labels.
    """
    keys = {name: _sizes(split, image_column) for name, split in splits.items()}
    # Lengths tell most photographs apart; 4 kB from the middle of a file tell most of the rest.
    keys = _digests(splits, image_column, keys, _probe)
    keys = _digests(splits, image_column, keys, _whole)
    groups = _numbered(keys)
    first, *others = splits
    labels = integer_column(splits[first], label_column)[: len(groups[first])]
    held = set(groups[first][groups[first] >= 0].tolist())
    return Duplicates(
        groups={name: _padded(numbers, len(splits[name])) for name, numbers in groups.items()},
        contradicting=_contradicting(groups[first], labels),
        shared={name: int(np.isin(groups[name], list(held)).sum()) for name in others},
    )


def _blocks(split: datasets.Dataset, image_column: str) -> Iterator[pa.ChunkedArray]:
    return islice(stored_blocks(split, image_column), _MOST_ROWS // BLOCK)


def _sizes(split: datasets.Dataset, image_column: str) -> Keys:
    """Bytes of each image; None where there is none."""
    sizes: Keys = []
    for block in _blocks(split, image_column):
        lengths = pc.binary_length(pc.struct_field(block, "bytes")).to_pylist()
        if None in lengths:
            paths = pc.struct_field(block, "path").to_pylist()
            lengths = [
                os.path.getsize(path)
                if length is None and path is not None and os.path.isfile(path)
                else length
                for length, path in zip(lengths, paths, strict=True)
            ]
        sizes += lengths
    return sizes


def _digests(
    splits: Mapping[str, datasets.Dataset], image_column: str, keys: Mapping[str, Keys], digest: Digest
) -> dict[str, Keys]:
    """Finer keys of the rows that share one, None for the others."""
    counts = Counter(key for column in keys.values() for key in column)
    finer: dict[str, Keys] = {}
    for name, split in splits.items():
        finer[name] = [None] * len(keys[name])
        for number, block in enumerate(_blocks(split, image_column)):
            first = number * BLOCK
            own = keys[name][first : first + len(block)]
            chosen = [place for place, key in enumerate(own) if key is not None and counts[key] > 1]
            for place, encoded in zip(
                chosen, block.take(pa.array(chosen, pa.int64())).to_pylist(), strict=True
            ):
                finer[name][first + place] = digest(encoded, own[place])
    return finer


def _probe(encoded: Encoded, key: Hashable) -> Hashable:
    if encoded.get("bytes") is not None:
        return key
    with open(encoded["path"], "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size // 2 - _PROBE // 2))
        return key, hashlib.blake2b(file.read(_PROBE), digest_size=16).digest()


def _whole(encoded: Encoded, key: Hashable) -> Hashable:
    data = encoded.get("bytes")
    return hashlib.blake2b(
        data if data is not None else Path(encoded["path"]).read_bytes(), digest_size=16
    ).digest()


def _numbered(keys: Mapping[str, Keys]) -> dict[str, Groups]:
    counts = Counter(key for column in keys.values() for key in column if key is not None)
    numbers = {key: number for number, key in enumerate(key for key, count in counts.items() if count > 1)}
    return {
        name: np.array([-1 if key is None else numbers.get(key, -1) for key in column], dtype=np.int64)
        for name, column in keys.items()
    }


def _padded(numbers: Groups, length: int) -> Groups:
    return np.concatenate([numbers, np.full(length - len(numbers), -1, dtype=np.int64)])


def _contradicting(groups: Groups, labels: Groups) -> int:
    known = (groups >= 0) & (labels >= 0)
    pairs = np.unique(np.stack([groups[known], labels[known]], axis=1), axis=0)
    several, counts = np.unique(pairs[:, 0], return_counts=True)
    return int(np.isin(groups[known], several[counts > 1]).sum())
