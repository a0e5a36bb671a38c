"""`add_label_noise`: wrong labels for a datasets.Dataset, DatasetDict or stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from datasets import (
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    concatenate_datasets,
)
from datasets.fingerprint import Hasher

from jal_hf.noise.base import LabelNoise
from jal_hf.noise.columns import CLEAN_COLUMN, check_columns, class_names_of, id_vector, label_vector
from jal_hf.noise.keyed import check_seed
from jal_hf.noise.registry import create_noise
from jal_hf.noise.spec import nearest
from jal_hf.noise.stream import add_to_stream

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

_DRAW_VERSION = 1  # raised when a draw changes, so that no older cache is read


def add_label_noise(
    dataset: AnyDataset,
    noise: LabelNoise | str,
    label_column: str = "label",
    seed: int = 0,
    index_column: str | None = None,
    *,
    splits: Sequence[str] = ("train",),
) -> AnyDataset:
    """Replace labels by noisy ones and keep the clean ones in a new column `clean_label`.

    The draw of a row depends on (seed, its id, its clean label) alone. It is cached by datasets: a second call
    with the same arguments reads it back. Images are not copied.

    Args:
        dataset: Rows with integer labels. Of a dict only `splits` get noise.
        noise: A noise, or a spec, for which the label column must be a ClassLabel.
        label_column: The column to change; its feature stays, and `clean_label` gets the same.
        seed: Names the draw.
        index_column: Integers or strings that name the rows; None takes the row number.
        splits: Which splits of a dict get noise.

    Raises:
        ValueError: A column or split is absent, `clean_label` is there already, labels are out of range or
            missing, or the kind of noise cannot be drawn from a stream.
        TypeError: Labels are not integers.
    """
    check_seed(seed)
    if isinstance(dataset, DatasetDict | IterableDatasetDict):
        for split in splits:
            if split not in dataset:
                raise ValueError(
                    f"There is no split {split!r}.{nearest(split, dataset)} There are {', '.join(dataset)}."
                )
        changed = {
            name: add_label_noise(part, noise, label_column, seed, index_column) if name in splits else part
            for name, part in dataset.items()
        }
        return type(dataset)(changed)
    check_columns(dataset.column_names, label_column, index_column)
    if isinstance(noise, str):
        names = class_names_of(dataset.features, label_column)
        noise = create_noise(noise, None if names is None else len(names), names)
    if isinstance(dataset, IterableDataset):
        return add_to_stream(dataset, noise, label_column, seed, index_column)
    return _add_to_dataset(dataset, noise, label_column, seed, index_column)


def _add_to_dataset(
    dataset: Dataset, noise: LabelNoise, label_column: str, seed: int, index_column: str | None
) -> Dataset:
    if len(dataset) == 0:
        raise ValueError("The dataset has no rows, so there are no labels to change.")
    clean = label_vector(dataset, label_column)
    index = id_vector(dataset, index_column)

    def draw(_: dict[str, Any]) -> dict[str, Any]:
        return {label_column: noise.corrupt(clean, seed, index), CLEAN_COLUMN: clean}

    feature = dataset.features[label_column]
    fingerprint = Hasher.hash(
        [
            "jal_hf.noise",
            _DRAW_VERSION,
            dataset._fingerprint,
            noise.spec,
            noise.num_classes,
            seed,
            label_column,
            index_column,
        ]
    )
    columns, style = dataset.column_names, dataset.format
    pair = (
        dataset.with_format(None)
        .select_columns([label_column])
        .map(
            draw,
            batched=True,
            batch_size=None,
            features=Features({label_column: feature, CLEAN_COLUMN: feature}),
            new_fingerprint=fingerprint,
            desc=f"Drawing {noise.kind} labels",
        )
    )
    rest = dataset.with_format(None).remove_columns([label_column])
    joined = concatenate_datasets([rest, pair], axis=1, split=dataset.split) if rest.column_names else pair
    joined = joined.select_columns([*columns, CLEAN_COLUMN])
    if style["type"] is not None:
        shown = [*style["columns"], CLEAN_COLUMN]
        joined.set_format(style["type"], shown, style["output_all_columns"], **style["format_kwargs"])
    return joined
