"""One split with its columns found, its labels checked and its rows numbered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import datasets
import numpy as np
import pyarrow.compute as pc

from jal_hf.data.column_values import integer_column, rows_text, with_column, without_columns
from jal_hf.data.columns import is_encoded_image
from jal_hf.data.images.encoded import BLOCK, stored_blocks
from jal_hf.data.labels import read_labels, unlabelled_rows, with_labels, with_whole_numbers
from jal_hf.data.row_weights import read_weights
from jal_hf.ground.image_files import IMAGE_ENDINGS, UnreadableImageError

ENDING_PATTERN = rf"({'|'.join(sorted(re.escape(ending) for ending in IMAGE_ENDINGS))})$"


def checked_split(
    split: datasets.Dataset,
    split_name: str,
    image_column: str,
    label_column: str | None,
    names: Sequence[str] | None,
    warnings: list[str],
) -> tuple[datasets.Dataset, list[str]]:
    """The split with an Image column, a ClassLabel column and the column `index`, and the class names.

    Args:
        split: the rows.
        split_name: for messages.
        image_column: name of the images.
        label_column: name of the labels; None where there are none.
        names: class names fixed by the training split or the model; None works them out.
        warnings: sentences are added here.

    Raises:
        ValueError: a column is absent or holds something else, labels or weights are wrong, or a row names a file that
            is no image; rows are named.
    """
    for column in (image_column, label_column):
        if column is not None and column not in split.column_names:
            raise ValueError(
                f"Split {split_name!r} has no column {column!r}; it has {', '.join(split.column_names)}."
            )
    split = without_columns(split.with_format(None), [])
    if label_column is not None:
        labels, names = read_labels(split, label_column, split_name, names)
        split = with_clean_labels(with_labels(split, label_column, labels, names), split_name, names)
    if "sample_weight" in split.column_names and read_weights(split, split_name) is None:
        split = without_columns(split, ["sample_weight"])
    _refuse_other_files(split, split_name, image_column)
    split = split.cast_column(
        image_column, image_feature(split.features[image_column], image_column, split_name)
    )
    return with_index(split, split_name, warnings), list(names or ())


def check_unlabelled(policy: str) -> None:
    """Nothing, for `error` and `drop`; ValueError for another policy."""
    if policy not in ("error", "drop"):
        raise ValueError(f"unlabelled is 'error' or 'drop', not {policy!r}.")


def labelled_rows(
    split: datasets.Dataset, split_name: str, label_column: str, policy: str, warnings: list[str]
) -> tuple[datasets.Dataset, int]:
    """The rows that have a label, under their original numbers in `index`, and how many have none.

    A label that is empty, NaN, -1, or text of nothing but that is none.

    Args:
        split: the rows.
        split_name: for messages.
        label_column: name of the labels.
        policy: `drop`; with `error` the split comes back as it is, and reading its labels refuses such rows.
        warnings: sentences are added here.
    """
    if policy == "error" or label_column not in split.column_names:
        return split, 0
    is_missing = unlabelled_rows(split, label_column)
    count = int(is_missing.sum())
    if count == 0:
        return split, 0
    split = with_index(split.with_format(None), split_name, warnings).select(np.flatnonzero(~is_missing))
    warnings.append(f"{count} row(s) of split {split_name!r} have no label and were left out.")
    return with_whole_numbers(split, label_column), count


def image_feature(feature: object, column: str, split_name: str) -> datasets.Image:
    """The feature of an image column.

    Raises:
        ValueError: it is stored in no way that images are.
    """
    if isinstance(feature, datasets.Image):
        return feature
    if not is_encoded_image(feature):
        raise ValueError(f"The column {column!r} of split {split_name!r} holds {feature}, not images.")
    return datasets.Image()


def _refuse_other_files(split: datasets.Dataset, split_name: str, image_column: str) -> None:
    """Rows may name image files only: a copy of the dataset, which may be pushed, holds what they name."""
    for number, stored in enumerate(stored_blocks(split, image_column)):
        outside = pc.and_(
            pc.is_null(pc.struct_field(stored, "bytes")),
            pc.invert(
                pc.match_substring_regex(pc.struct_field(stored, "path"), ENDING_PATTERN, ignore_case=True)
            ),
        )
        if pc.any(outside).as_py():
            row = pc.index(outside.combine_chunks(), True).as_py()
            raise UnreadableImageError(
                f"Row {number * BLOCK + row} of split {split_name!r} names the file "
                f"{stored[row]['path'].as_py()!r}, which is no image by its ending."
            )


def with_clean_labels(split: datasets.Dataset, split_name: str, names: Sequence[str]) -> datasets.Dataset:
    """`clean_label` checked like the labels; dropped where a split has the column but nothing in it."""
    if "clean_label" not in split.column_names:
        return split
    column = split.select_columns(["clean_label"]).with_format("arrow")[:].column(0)
    if column.null_count == len(split):
        return without_columns(split, ["clean_label"])
    if column.null_count:
        rows = np.flatnonzero(column.is_null().to_numpy())
        raise ValueError(
            f"The column 'clean_label' of split {split_name!r} is empty in {len(rows)} of {len(split)} rows "
            f"({rows_text(rows)}), and noise can be told only where it is known throughout; fill it in, or remove the "
            "column."
        )
    clean, _ = read_labels(split, "clean_label", split_name, names)
    return with_labels(split, "clean_label", clean, names)


def with_index_from(split: datasets.Dataset, first: int) -> datasets.Dataset:
    """The split with its rows numbered from `first` on, after those of another."""
    return with_column(split, "index", np.arange(first, first + len(split), dtype=np.int64))


def with_index(split: datasets.Dataset, split_name: str, warnings: list[str]) -> datasets.Dataset:
    """Keep a column `index` that numbers the rows; make one otherwise."""
    if "index" in split.column_names:
        feature = split.features["index"]
        if isinstance(feature, datasets.Value) and feature.dtype.startswith(("int", "uint")):
            values = integer_column(split, "index")
            if len(np.unique(values)) == len(values) and values.min() >= 0:
                return split
        warnings.append(
            f"The column 'index' of split {split_name!r} does not number the rows; it was replaced."
        )
    return with_column(split, "index", np.arange(len(split), dtype=np.int64))


def numbered_rows(splits: Mapping[str, datasets.Dataset], name: str) -> int | None:
    """How many rows the numbers of a split count, which is how many labels a file for it must hold.

    Those of the split as it is given, rows that are dropped later included; where a column `index` numbers the rows of
    all splits together, as in the digits, those of all; None where it counts rows that are not here.
    """
    if "index" not in splits[name].column_names:
        return len(splits[name])
    for together in ([splits[name]], [split for split in splits.values() if "index" in split.column_names]):
        numbers = np.concatenate([split.with_format("numpy")["index"][:] for split in together])
        if np.array_equal(np.sort(numbers), np.arange(len(numbers))):
            return len(numbers)
    return None
