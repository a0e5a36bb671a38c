"""Labels that exist already: human annotations and published noisy label vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from jal_hf.ground.sentences import did_you_mean
from jal_hf.noise.array_files import ONLY_COLUMN, Columns, csv_texts, read_columns
from jal_hf.noise.base import LabelNoise, Labels
from jal_hf.noise.keyed import UInt64
from jal_hf.noise.spec import join_spec

_CLEAN, IMAGE_HASH = "clean_label", "image_sha256"


class LabelFileNoise(LabelNoise):
    """Takes each row's label from a file whose row i belongs to row i of the dataset.

    A `clean_label` column in the file is compared with the dataset's labels, and an `image_sha256` column with its
    images (`jal_hf.noise.image_hashes`), so that a file in another order is refused instead of silently giving
    random noise.

    Args:
        source: `FILE#COLUMN`; the column may be left out where the file has but one beside `clean_label`.
    """

    kind = "labels"
    has_rate = False

    def __init__(
        self, source: str, num_classes: int | None = None, class_names: Sequence[str] | None = None
    ) -> None:
        self.source = source
        path, column = _split_source(source)
        columns = read_columns(path)
        column = _choose(columns, column, source)
        self._labels = _integers(path, columns, column, source, num_classes, class_names)
        self._clean: Labels | None = None
        rate = 0.0
        if _CLEAN in columns:
            self._clean = _integers(path, columns, _CLEAN, source, num_classes, class_names)
            if len(self._clean) != len(self._labels):
                raise ValueError(
                    f"The file of {source!r} has {len(self._labels)} labels and {len(self._clean)} clean "
                    "labels."
                )
            rate = float(np.mean(self._labels != self._clean)) if len(self._labels) else 0.0
        super().__init__(rate, "fixed", num_classes, class_names)
        self.rows = len(self._labels)
        if IMAGE_HASH in columns:
            self.image_hashes = [str(item) for item in columns[IMAGE_HASH]]
            if len(self.image_hashes) != self.rows:
                raise ValueError(
                    f"The file of {source!r} has {self.rows} labels and {len(self.image_hashes)} hashes of images."
                )

    @property
    def spec(self) -> str:
        return join_spec(self.kind, self.source)

    @property
    def identity(self) -> str:
        digest = hashlib.sha256(self._labels.tobytes())
        digest.update(b"" if self._clean is None else self._clean.tobytes())
        digest.update("".join(self.image_hashes or ()).encode())
        return f"{self.spec} {digest.hexdigest()}"

    def expected_rate(self, class_counts: Any) -> float | None:
        """Share of wrong labels in the file, or None when it does not hold the clean ones."""
        return None if self._clean is None else self.rate

    def corrupt(
        self, labels: Any, seed: SupportsIndex = 0, index: Any = None, features: Any = None
    ) -> Labels:
        """As `LabelNoise.corrupt`; `index` holds row numbers of the file, the seed changes nothing."""
        if index is None:
            self.check_rows(len(labels))
        elif len(labels) and np.asarray(index).dtype.kind not in "iu":
            raise TypeError(
                f"The labels of {self.source!r} are found by row number; give an index of integers."
            )
        self._check_numbers(index)
        return super().corrupt(labels, seed, index, features)

    def check_images(self, hashes: Sequence[str], index: Any = None) -> None:
        """As `LabelNoise.check_images`, where the file holds hashes."""
        if self.image_hashes is None:
            return
        self._check_numbers(index)
        keys = np.arange(len(hashes)) if index is None else np.asarray(index)
        places = self._places(keys.astype(np.uint64)).tolist()
        rows = zip(keys.tolist(), places, hashes, strict=True)
        wrong = [key for key, place, found in rows if self.image_hashes[place] != found]
        if wrong:
            moved = len(set(hashes) & set(self.image_hashes)) > len(hashes) - len(wrong)
            why = "The dataset is in another order" if moved else "These are other images"
            raise ValueError(
                f"The labels of {self.spec!r} were made for other images in {len(wrong):,} of {len(hashes):,} rows "
                f"(first rows {wrong[:3]}). {why}; give the one that they were made for, as it came."
            )

    def _check_numbers(self, index: Any) -> None:
        """Raise ValueError for a row number below 0, which counts from no end here."""
        numbers = np.asarray(() if index is None else index)
        if numbers.dtype.kind == "i" and (numbers < 0).any():
            raise ValueError(
                f"The dataset asks the file of {self.source!r} for row {int(numbers[numbers < 0][0])}; row numbers "
                "begin at 0."
            )

    def _places(self, keys: UInt64) -> NDArray[np.intp]:
        """Where the rows of these numbers stand in the file."""
        beyond = keys >= len(self._labels)
        if beyond.any():
            raise ValueError(
                f"The file of {self.source!r} has {len(self._labels)} labels, but the dataset asks for row "
                f"{int(keys[beyond][0])}; give a file made for this split."
            )
        return keys.astype(np.intp)

    def _draw(self, labels: Labels, keys: UInt64, seed: int, features: Any) -> Labels:
        rows = self._places(keys)
        if self._clean is not None:
            wrong = np.flatnonzero(self._clean[rows] != labels)
            if len(wrong):
                raise ValueError(
                    f"The clean labels in the file of {self.source!r} differ from the dataset's in "
                    f"{len(wrong):,} of {len(labels):,} rows (first rows {wrong[:3].tolist()}), so it is in "
                    "another order or of another dataset; bring the dataset into the file's order, or find "
                    "the file that fits."
                )
        return self._labels[rows]


class HumanNoise(LabelFileNoise):
    """Labels that people gave, such as CIFAR-10N's `worse_label`."""

    kind = "human"
    family = "human"


def _split_source(source: str) -> tuple[Path, str | None]:
    name, mark, column = source.rpartition("#")
    return (Path(name), column) if mark else (Path(source), None)


def _choose(columns: Columns, column: str | None, source: str) -> str:
    named = [name for name in columns if name != ONLY_COLUMN]
    if column:
        if column not in columns:
            known = (
                f"it has {', '.join(named)}" if named else "it holds one nameless vector, so leave '#' out"
            )
            raise ValueError(
                f"There is no column {column!r} in the file of {source!r};{did_you_mean(column, named)} {known}."
            )
        return column
    candidates = [name for name in columns if name not in (_CLEAN, IMAGE_HASH)]
    if len(candidates) != 1:
        raise ValueError(
            f"Which column of {source!r} to take is not clear; write FILE#COLUMN with one of "
            f"{', '.join(named)}."
        )
    return candidates[0]


def _integers(
    path: Path,
    columns: Columns,
    name: str,
    source: str,
    num_classes: int | None,
    class_names: Sequence[str] | None,
) -> Labels:
    """One column as (N,) int64, class names turned into ids, range checked."""
    what = f"The column {name!r} of {source!r}" if name else f"The file {source!r}"
    values = np.asarray(columns[name])
    if values.ndim != 1:
        raise ValueError(f"{what} has shape {values.shape}; give one label for each row.")
    if class_names is not None and path.suffix.lower() == ".csv":
        named = _named(csv_texts(path, name), values, class_names, what)
        if named is not None:
            return named
    if (
        values.dtype.kind not in "iu"
        and class_names is not None
        and all(isinstance(v, str) for v in values.tolist())
    ):
        ids = {text: number for number, text in enumerate(class_names)}
        unknown = sorted({text for text in values.tolist() if text not in ids})
        if unknown:
            raise ValueError(
                f"{what} names {unknown[0]!r}, which is no class.{did_you_mean(unknown[0], ids)}"
            )
        return np.array([ids[text] for text in values.tolist()], dtype=np.int64)
    if values.dtype.kind not in "iu":
        raise ValueError(
            f"{what} holds {values.dtype} values or gaps; give an integer class id for each row."
        )
    wrong = np.flatnonzero((values < 0) | (values >= (num_classes or np.iinfo(np.int64).max)))
    if len(wrong):
        bound = f"in [0, {num_classes})" if num_classes else "at least 0"
        raise ValueError(
            f"{what} holds {values[wrong[0]]} in row {wrong[0]} ({len(wrong)} rows are wrong); labels must "
            f"be {bound}."
        )
    return values.astype(np.int64)


def _named(
    texts: Sequence[str], values: NDArray[Any], class_names: Sequence[str], what: str
) -> Labels | None:
    """Ids of a csv's fields, each of which names a class; None where one names none.

    Raises:
        ValueError: they may as well be ids, and of other classes.
    """
    ids = {text: number for number, text in enumerate(class_names)}
    if not ids.keys() >= set(texts):
        return None
    named = np.array([ids[text] for text in texts], dtype=np.int64)
    numbers = values.tolist() if values.dtype.kind in "iu" else []
    if [str(number) for number in numbers] == texts and set(numbers) <= set(ids.values()):
        other = np.flatnonzero(named != values)
        if len(other):
            row = int(other[0])
            raise ValueError(
                f"{what} holds {texts[row]} in row {row}, the name of class {named[row]} and the id of class "
                f"{class_names[numbers[row]]!r}; give a parquet file, where text is names and integers are ids."
            )
    return named
