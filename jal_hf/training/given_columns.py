"""The columns of a dataset without images, as a stock collator will meet them: what fits, and what is left out."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
from torch import nn

from jal_hf.data.labels import refuse_wrong_labels, unlabelled_rows
from jal_hf.data.raw_datasets import is_image, is_raw
from jal_hf.data.stream_loading import with_features
from jal_hf.ground.sentences import listed
from jal_hf.models.labels import name_classes
from jal_hf.training.methods.batch import BATCH_EXTRAS

logger = logging.getLogger(__name__)

_LABEL_FIELDS = ("labels", "label", "label_ids")
"""What the collators of transformers take for the labels, the first of them that is there."""


def refuse_images(dataset: Any, model: nn.Module | None) -> None:
    """Nothing, where a dataset that is left alone holds no images, which no stock collator puts together.

    Raises:
        ValueError: It does.
    """
    if is_raw(dataset) and any(map(is_image, (getattr(dataset, "features", None) or {}).values())):
        raise ValueError(
            f"{type(model).__name__} does not say how images are prepared for it, so those of the dataset cannot be. "
            "Take a network of timm or of create_model; or prepare them yourself, with dataset.set_transform(...) or a "
            "data_collator; a model of transformers is told by jal_hf.models.as_run_model(model, "
            "preprocessing={'image_size': 224})."
        )


def refuse_texts(dataset: Any, model: nn.Module | None) -> None:
    """Nothing, where a dataset that is left alone holds numbers for the model and as labels, if it has any.

    Raises:
        ValueError: Its texts are not tokenised, or its labels are texts; no stock collator takes either.
    """
    if model is None or not is_raw(dataset) or not dataset.features:
        return
    features = dataset.features
    if (column := _label_column(features)) is not None and _is_text(_entry(features[column])):
        how = f"dataset.class_encode_column({column!r})" if _is_text(features[column]) else "dataset.map(...)"
        raise ValueError(
            f"The labels in {column!r} are texts, and a batch takes class ids; number them with {how}."
        )
    taken, takes_any = _taken_fields(model)
    columns = [name for name in features if name not in (*_LABEL_FIELDS, *BATCH_EXTRAS)]
    is_fed = any(name in taken or (takes_any and _is_numeric(features[name])) for name in columns)
    if taken and not is_fed and (texts := [name for name in columns if _is_text(features[name])]):
        raise ValueError(
            f"The dataset has no column that {type(model).__name__} takes, only {', '.join(map(repr, features))}. "
            f"Tokenise it first: dataset.map(lambda rows: tokenizer(rows[{texts[0]!r}], truncation=True), "
            "batched=True)."
        )


def check_order(dataset: Any, names: Sequence[str]) -> None:
    """Nothing, where the labels of a dataset without images number the model's classes as the model does.

    Labels by other names are counted alone.

    Raises:
        ValueError: They are the model's names in another order.
    """
    column, found = _named_labels(dataset)
    if found is not None and set(found) <= set(names) and found != list(names[: len(found)]):
        raise ValueError(
            f"The labels in {column!r} number the classes in another order than the model: {listed(found[:5])} for "
            f"{listed(names[:5])}. Renumber them with dataset.align_labels_with_mapping(model.config.label2id, "
            f"{column!r}), or make the model with the names of the data."
        )


def named_by_data(dataset: Any, config: Any, names: Sequence[str]) -> list[str]:
    """The model's class names, with those of a training dataset without images in place of the placeholders."""
    _, found = _named_labels(dataset)
    if found is None or len(found) > len(names):
        return list(names)
    names = [*found, *names[len(found) :]]
    name_classes(config, names)
    return names


def _named_labels(dataset: Any) -> tuple[str | None, list[str] | None]:
    """The column of labels, or of token labels, and the names of its classes; None where there are none."""
    features = (dataset.features if is_raw(dataset) else None) or {}
    column = _label_column(features)
    feature = None if column is None else _entry(features[column])
    return column, list(feature.names or ()) or None if isinstance(feature, datasets.ClassLabel) else None


def _label_column(features: Mapping[str, Any]) -> str | None:
    return next((name for name in _LABEL_FIELDS if name in features), None)


def _entry(feature: Any) -> Any:
    """What the values of a column are, or the entries of its lists."""
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    return feature if inner is None else _entry(inner)


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _taken_fields(model: nn.Module) -> tuple[set[str], bool]:
    """The fields that a model takes by name, and whether it takes others too.

    Models of transformers, and ours of text, hand fields of other names on to their attention, which takes none of a
    dataset's; those of peft hand theirs on to the model within.
    """
    get_base = getattr(model, "get_base_model", None)
    base = model if get_base is None else get_base()
    own, within = (inspect.signature(one.forward).parameters.values() for one in (model, base))
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    taken = {one.name for one in (*own, *within) if one.kind not in kinds}
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in own)
    return taken, takes_any and not (taken and type(base).__module__.startswith(("transformers.", "jal_hf.")))


def without_missing_labels(dataset: Any) -> Any:
    """A dataset of `datasets` without its column of labels where each is -1 or empty, as of rows to be predicted."""
    if not isinstance(dataset, datasets.Dataset) or not is_raw(dataset):
        return dataset
    column = next((name for name in _LABEL_FIELDS if name in dataset.column_names), None)
    if column is None or not getattr(dataset.features[column], "dtype", "").startswith("int"):
        return dataset
    return dataset.remove_columns(column) if unlabelled_rows(dataset, column).all() else dataset


def check_labels(dataset: Any, num_classes: int, ignore_index: int) -> None:
    """Nothing, where the labels of a dataset of `datasets` are classes of the model or ignored; others are not read.

    Raises:
        ValueError: Some are neither; the rows are named.
    """
    if num_classes < 2 or not isinstance(dataset, datasets.Dataset) or not is_raw(dataset):
        return
    column = next((name for name in _LABEL_FIELDS if name in dataset.column_names), None)
    if column is not None:
        refuse_wrong_labels(dataset, column, num_classes, ignore_index)


def without_unused_columns(dataset: Any, model: nn.Module | None, keeps_numbers: bool = False) -> Any:
    """A dataset of `datasets` without the columns that neither the model, the loss nor a method takes.

    Of a model that takes fields of any name, as one's own may, and where all numbers are kept, they are those that
    hold none, such as the text beside its tokens: no stock collator makes a batch of texts. Left alone: datasets with
    images or with a transform of their own, which may need any column, and torch datasets.
    """
    if model is None or not is_raw(dataset):
        return dataset
    is_stream = isinstance(dataset, datasets.IterableDataset)
    features = with_features(dataset, "given").features if is_stream else dataset.features
    if any(map(is_image, features.values())):
        return dataset
    taken, takes_any = _taken_fields(model)
    known = {*taken, *_LABEL_FIELDS, *BATCH_EXTRAS}
    unused = [
        name
        for name, feature in features.items()
        if name not in known and not ((takes_any or keeps_numbers) and _is_numeric(feature))
    ]
    if unused:
        logger.info(
            "Columns that %s does not take are left out: %s.", type(model).__name__, ", ".join(unused)
        )
    return dataset.remove_columns(unused) if unused else dataset


def _is_numeric(feature: Any) -> bool:
    """Whether a column's values, or the entries of its lists, can be entries of a tensor."""
    return getattr(_entry(feature), "dtype", "").startswith(("int", "uint", "float", "bool"))
