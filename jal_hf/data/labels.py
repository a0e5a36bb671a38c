"""One pass over the labels, before anything long starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jal_hf.data.column_values import is_text, rows_text, whole_column, with_column
from jal_hf.ground.sentences import counted, listed

IGNORE_INDEX = -100
TRUTHS = ("False", "True")
"""Class names of booleans."""
_SHOWN = 5

Labels = npt.NDArray[np.int64]


def read_labels(
    split: datasets.Dataset, column: str, split_name: str, names: Sequence[str] | None = None
) -> tuple[Labels, list[str]]:
    """Labels as ids and the class names.

    Args:
        split: the rows.
        column: the label column: ClassLabel, integers, booleans or strings.
        split_name: for messages.
        names: class names fixed by the training split; None works them out (strings sorted; integers 0..max).

    Returns:
        (N,) int64 and the names.

    Raises:
        ValueError: the split is empty, or labels are missing, not whole numbers, out of range or of unknown
            classes; the rows are named.
    """
    if len(split) == 0:
        raise ValueError(f"The split {split_name!r} is empty.")
    feature = split.features[column]
    values = whole_column(split, column)
    _refuse_missing(values, column, split_name)
    own = list(feature.names) if isinstance(feature, datasets.ClassLabel) and feature.names else None
    if pa.types.is_boolean(values.type):
        values, own = values.cast(pa.int64()), list(TRUTHS)
    if is_text(values.type):
        return _from_strings(values, column, split_name, names)
    if not pa.types.is_integer(values.type):
        raise ValueError(
            f"The label column {column!r} of split {split_name!r} holds {values.type} values; labels must be "
            "integers (class ids) or strings (class names). Convert the column, for example with Dataset.map."
        )
    labels = values.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.int64)
    if names is not None and own is not None and list(names) != own:
        labels = _by_name(labels, own, names, column, split_name)
    known = list(names) if names is not None else own or _numbered(labels, column, split_name)
    _refuse_outside(labels, len(known), column, split_name)
    return labels, known


def unlabelled_rows(split: datasets.Dataset, column: str) -> npt.NDArray[np.bool_]:
    """Which rows have no label, (N,): an empty cell, NaN, -1, or text of nothing but that."""
    values = whole_column(split, column)
    is_missing = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))
    if is_text(values.type):
        is_missing = pc.or_kleene(
            is_missing, pc.is_in(pc.utf8_trim_whitespace(values), pa.array(["", "-1"], values.type))
        )
    elif pa.types.is_signed_integer(values.type) or pa.types.is_floating(values.type):
        is_missing = pc.or_kleene(is_missing, pc.equal(values, pa.scalar(-1).cast(values.type, safe=False)))
    return np.asarray(is_missing.fill_null(True).to_numpy(zero_copy_only=False), dtype=bool)


def is_no_label(label: object) -> bool:
    """Whether one value stands for no label: None, NaN, -1, or text of nothing but that."""
    if isinstance(label, str):
        return label.strip() in ("", "-1")
    return label is None or label != label or label == -1


def with_whole_numbers(split: datasets.Dataset, column: str) -> datasets.Dataset:
    """The split with labels such as 2.0, which a table's empty cells make of 2, as integers again."""
    values = whole_column(split, column)
    if not pa.types.is_floating(values.type) or not pc.all(pc.equal(values, pc.floor(values))).as_py():
        return split
    return split.cast_column(column, datasets.Value("int64"))


def _refuse_missing(values: pa.Array, column: str, split_name: str) -> None:
    is_missing = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type)).to_numpy(
        zero_copy_only=False
    )
    rows = np.flatnonzero(is_missing)
    if len(rows) > 0:
        raise ValueError(
            f"The label column {column!r} of split {split_name!r} has {len(rows)} missing value(s) (None "
            f"or NaN), "
            f"at {rows_text(rows)}; label them, or leave them out with unlabelled='drop'."
        )


def _from_strings(
    values: pa.Array, column: str, split_name: str, names: Sequence[str] | None
) -> tuple[Labels, list[str]]:
    texts = values.to_pylist()
    known = sorted(set(texts)) if names is None else list(names)
    none = [name for name in known if is_no_label(name)]
    if none:
        rows = [row for row, text in enumerate(texts) if text in none]
        what = "empty text" if not none[0].strip() else repr(none[0])
        raise ValueError(
            f"The label column {column!r} of split {split_name!r} holds {what} at {rows_text(rows)}; label these "
            "rows, or leave them out with unlabelled='drop'."
        )
    ids = {name: number for number, name in enumerate(known)}
    unseen = sorted({text for text in texts if text not in ids})
    if unseen:
        raise ValueError(
            f"Split {split_name!r} has labels that the training split has not: {listed(unseen[:_SHOWN])}"
            f"{' and more' if len(unseen) > _SHOWN else ''}. The model would have no output for them."
        )
    if names is None and len(known) > max(2, len(texts) // 2):
        raise ValueError(
            f"The label column {column!r} holds {len(known)} different texts in {len(texts)} rows; that is "
            f"not a "
            "column of classes. Name the right one with label_column."
        )
    return np.fromiter((ids[text] for text in texts), dtype=np.int64, count=len(texts)), known


def _by_name(
    labels: Labels, own: Sequence[str], names: Sequence[str], column: str, split_name: str
) -> Labels:
    """Ids of another split's ClassLabel, carried over by class name."""
    _refuse_outside(labels, len(own), column, split_name)
    used = [own[number] for number in np.unique(labels[labels != IGNORE_INDEX])]
    ids = {name: number for number, name in enumerate(names)}
    unseen = [name for name in used if name not in ids]
    if unseen:
        raise ValueError(
            f"Split {split_name!r} has classes that the training split does not name: "
            f"{listed(unseen[:_SHOWN])}."
        )
    table = np.array([ids.get(name, IGNORE_INDEX) for name in own], dtype=np.int64)
    return np.where(labels == IGNORE_INDEX, IGNORE_INDEX, table[np.maximum(labels, 0)])


def _numbered(labels: Labels, column: str, split_name: str) -> list[str]:
    """Names '0'..'K-1' for plain integers; refuses numbers that are plainly no class ids."""
    used = np.unique(labels[labels != IGNORE_INDEX])
    if len(used) == 0:
        raise ValueError(
            f"No row of split {split_name!r} has a label other than {IGNORE_INDEX} in {column!r}."
        )
    count = int(used[-1]) + 1
    if count > max(2 * len(used), 1000) or (count > 20 and len(used) > max(2, len(labels) // 2)):
        raise ValueError(
            f"The label column {column!r} of split {split_name!r} holds {len(used)} different numbers up to "
            f"{count - 1} in {len(labels)} rows; class ids must run from 0 to K-1. Renumber them, or give "
            f"strings."
        )
    return [str(number) for number in range(count)]


def _refuse_outside(labels: Labels, num_classes: int, column: str, split_name: str) -> None:
    wrong = np.flatnonzero(_is_outside(labels, num_classes, IGNORE_INDEX))
    if len(wrong) > 0:
        sentence = _outside(labels[wrong], wrong, num_classes, column, split_name, IGNORE_INDEX)
        hint = " Rows whose -1 means no label are left out with unlabelled='drop'."
        raise ValueError(sentence + (hint if -1 in labels[wrong] else ""))


def _is_outside(labels: Labels, num_classes: int, ignore_index: int) -> npt.NDArray[np.bool_]:
    outside: npt.NDArray[np.bool_] = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    return outside


def _outside(
    found: Labels, rows: npt.NDArray[Any], num_classes: int, column: str, split_name: str, ignore_index: int
) -> str:
    some = sorted({int(label) for label in found[:1000]})[:_SHOWN]
    return (
        f"The label column {column!r} of split {split_name!r} has {len(found)} label(s) outside [0, {num_classes}) "
        f"(such as {', '.join(map(str, some))}) at {rows_text(np.unique(rows))}; a label is a class id in [0, "
        f"{num_classes}), or {ignore_index} for a row to leave out."
    )


def refuse_wrong_labels(split: datasets.Dataset, column: str, num_classes: int, ignore_index: int) -> None:
    """Nothing, where each label of a split is a class id or the ignored one; only this column is read.

    Args:
        column: integers, or lists of them as token labels are; another kind is not looked at.

    Raises:
        ValueError: a label is neither; the rows are named.
    """
    *lists, entries = _levels(whole_column(split, column))
    if not pa.types.is_integer(entries.type) or not len(entries):
        return
    bounds = pc.min_max(entries).as_py()
    if bounds["min"] is None or (bounds["min"] >= 0 and bounds["max"] < num_classes):
        return
    labels = entries.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(_is_outside(labels, num_classes, ignore_index))
    if len(wrong) > 0:
        found, rows = labels[wrong], wrong
        for values in reversed(lists):
            rows = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)[rows]
        name = str(split.split or "given")
        raise ValueError(_outside(found, rows, num_classes, column, name, ignore_index))


def _levels(values: pa.Array) -> list[pa.Array]:
    """A column's lists, the lists in them and so on, the entries last."""
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [values, *_levels(pc.list_flatten(values))]
    return [values]


def label_warnings(labels: Labels, names: Sequence[str], split_name: str) -> list[str]:
    """Sentences on classes that never occur, names that are nearly the same, and rows that carry the ignored label.

    Raises:
        ValueError: fewer than two classes occur, so there is nothing to learn.
    """
    used = np.unique(labels[labels != IGNORE_INDEX])
    if len(names) < 2 or len(used) < 2:
        raise ValueError(
            f"Split {split_name!r} has rows of {counted(len(used), 'class')}; training a classifier needs at least "
            f"two."
        )
    warnings = []
    missing = [names[number] for number in np.setdiff1d(np.arange(len(names)), used)]
    if missing:
        warnings.append(
            f"{len(missing)} of {len(names)} classes never {'occurs' if len(missing) == 1 else 'occur'} in split "
            f"{split_name!r}: "
            f"{listed(missing[:_SHOWN])}{' and more' if len(missing) > _SHOWN else ''}."
        )
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(str(name).split()).casefold(), []).append(str(name))
    same = [" and ".join(map(repr, found)) for found in alike.values() if len(found) > 1]
    if same:
        warnings.append(
            f"Classes whose names differ by blanks or capitals alone are trained as different ones: "
            f"{'; '.join(same[:_SHOWN])}{' and more' if len(same) > _SHOWN else ''}. Where they are meant to be one, "
            "correct the labels."
        )
    ignored = int((labels == IGNORE_INDEX).sum())
    if ignored:
        warnings.append(
            f"{ignored} row(s) of split {split_name!r} carry {IGNORE_INDEX} and are left out of the loss."
        )
    return warnings


def check_num_classes(names: Sequence[str], outputs: int) -> None:
    """Nothing, where a model has an output for each class.

    Args:
        names: classes of the data.
        outputs: number of the model's outputs.

    Raises:
        ValueError: the data has more classes.
    """
    if len(names) > outputs:
        raise ValueError(
            f"The data has {len(names)} classes ({listed(names[:_SHOWN])}"
            f"{' and more' if len(names) > _SHOWN else ''}) and the model {outputs} outputs; create the model "
            f"with num_labels={len(names)}."
        )


def with_labels(
    split: datasets.Dataset, column: str, labels: Labels, names: Sequence[str]
) -> datasets.Dataset:
    """The split with `column` as a ClassLabel of `names`; untouched where it is that already."""
    feature = split.features[column]
    if isinstance(feature, datasets.ClassLabel) and list(feature.names or []) == list(names):
        return split
    place = split.column_names.index(column)
    order = [name for name in split.column_names if name != column]
    order.insert(place, column)
    replaced = with_column(split, column, labels, datasets.ClassLabel(names=list(names)))
    return replaced.select_columns(order)
