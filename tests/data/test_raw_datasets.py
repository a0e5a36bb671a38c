"""Raw datasets given to a trainer: columns found, labels checked, everything else left alone."""

from __future__ import annotations

import logging
from typing import Any

import datasets
import pytest
import torch

from jal_hf.data import collate_images, prepare_dataset
from tests.data.conftest import encoded

RGB = {"input_size": (3, 16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
NAMES = ["cat", "dog", "fox"]


def rows(label: Any = None, column: str = "label", count: int = 6) -> datasets.Dataset:
    """`count` images, with ids 0, 1, 2, 0, ... in a column of the feature given, or no labels."""
    content: dict[str, Any] = {"image": [{"bytes": encoded(seed), "path": None} for seed in range(count)]}
    features: dict[str, Any] = {"image": datasets.Image()}
    if label is not None:
        is_text = getattr(label, "dtype", None) == "string"
        content[column] = [NAMES[row % 3] if is_text else row % 3 for row in range(count)]
        features[column] = label
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


CLASSES = datasets.ClassLabel(names=NAMES)
NUMBERS, TEXTS = datasets.Value("int64"), datasets.Value("string")


def batch_of(dataset: Any) -> dict[str, torch.Tensor]:
    if isinstance(dataset, torch.utils.data.IterableDataset):
        return collate_images(list(dataset))
    return dict(dataset.__getitems__(list(range(len(dataset)))))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("column", ["label", "labels", "target", "fine_label", "category", "y"])
def test_label_column_is_found_by_its_usual_names(column: str, streams: bool) -> None:
    split = rows(NUMBERS, column)
    prepared = prepare_dataset(
        split.to_iterable_dataset() if streams else split, RGB, train=False, class_names=NAMES
    )
    assert batch_of(prepared)["labels"].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("streams", [False, True])
def test_rows_without_labels_are_for_prediction_only(streams: bool) -> None:
    split = rows()
    given = split.to_iterable_dataset() if streams else split
    batch = batch_of(prepare_dataset(given, RGB, train=False, class_names=NAMES))
    assert set(batch) == {"pixel_values", "index"}
    assert batch["index"].tolist() == list(range(6))
    with pytest.raises(ValueError, match="no column is known to hold labels"):
        prepare_dataset(given, RGB, train=True)


def test_test_split_whose_labels_are_all_hidden_has_none() -> None:
    split = rows().add_column("label", [-1] * 6, feature=CLASSES)
    assert "labels" not in batch_of(prepare_dataset(split, RGB, train=False, class_names=NAMES))


def test_stream_and_table_give_the_same_batch() -> None:
    table = batch_of(prepare_dataset(rows(CLASSES), RGB, train=False, class_names=NAMES))
    stream = batch_of(prepare_dataset(rows(CLASSES).to_iterable_dataset(), RGB, train=False))
    assert set(table) == set(stream)
    assert all(torch.equal(table[name], stream[name]) for name in table)


@pytest.mark.parametrize("streams", [False, True])
def test_labels_follow_the_names_of_the_models_outputs(streams: bool) -> None:
    split = rows(CLASSES)
    given = split.to_iterable_dataset() if streams else split
    order = ["fox", "cat", "dog"]
    assert batch_of(prepare_dataset(given, RGB, train=False, class_names=order))["labels"].tolist() == [
        1, 2, 0, 1, 2, 0,
    ]  # fmt: skip
    placeholders = [f"LABEL_{number}" for number in range(3)]
    numbered = prepare_dataset(given, RGB, train=False, class_names=placeholders)
    assert batch_of(numbered)["labels"].tolist() == [0, 1, 2, 0, 1, 2]


def test_texts_become_ids_of_the_models_classes() -> None:
    prepared = prepare_dataset(rows(TEXTS), RGB, train=False, class_names=["fox", "dog", "cat"])
    assert batch_of(prepared)["labels"].tolist() == [2, 1, 0, 2, 1, 0]


@pytest.mark.parametrize("streams", [False, True])
def test_texts_are_not_numbered_where_no_name_tells_their_class(streams: bool) -> None:
    split = rows(TEXTS)
    given = split.to_iterable_dataset() if streams else split
    placeholders = [f"LABEL_{number}" for number in range(3)]
    with pytest.raises(ValueError, match="'label' names classes by text, and the model's are called LABEL_0"):
        prepare_dataset(given, RGB, train=False, class_names=placeholders)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("label", [CLASSES, NUMBERS])
def test_more_classes_than_outputs_are_refused_before_training(label: Any, streams: bool) -> None:
    split = rows(label)
    given = split.to_iterable_dataset() if streams else split
    with pytest.raises(ValueError, match=r"outside \[0, 2\)|num_labels=3|label 2"):
        batch_of(prepare_dataset(given, RGB, train=True, class_names=["LABEL_0", "LABEL_1"]))


def test_dict_of_splits_gives_a_dict_and_is_nothing_to_train_on() -> None:
    splits = datasets.DatasetDict({"a": rows(CLASSES), "b": rows(NUMBERS)})
    prepared = prepare_dataset(splits, RGB, train=False, class_names=NAMES)
    assert list(prepared) == ["a", "b"]
    assert all(len(batch_of(split)["labels"]) == 6 for split in prepared.values())
    with pytest.raises(ValueError, match=r"dict of splits \(a, b\)"):
        prepare_dataset(splits, RGB, train=True)


def test_what_is_ready_already_is_left_alone() -> None:
    own = rows(CLASSES)
    own.set_transform(lambda batch: {"pixel_values": [torch.zeros(3, 16, 16)] * len(batch["label"])})
    text = datasets.Dataset.from_dict({"input_ids": [[1, 2]], "label": [0]})
    ready = torch.utils.data.TensorDataset(torch.zeros(2))
    for given in (own, text, text.to_iterable_dataset(), ready, None):
        assert prepare_dataset(given, RGB, train=True) is given or isinstance(given, datasets.IterableDataset)
    stream = prepare_dataset(text.to_iterable_dataset(), RGB, train=True)
    assert next(iter(stream)) == {"input_ids": [1, 2], "label": 0}
    split = rows(CLASSES)
    assert prepare_dataset(split, None, train=True) is split


def test_training_without_augmentation_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="jal_hf"):
        prepare_dataset(rows(CLASSES), RGB, train=True, augment="crop-flip")
        prepare_dataset(rows(CLASSES), RGB, train=False)
        assert not caplog.records
        prepare_dataset(rows(CLASSES), RGB, train=True)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "Training without augmentation"
    ]


def test_augment_reaches_the_rows() -> None:
    plain = batch_of(prepare_dataset(rows(CLASSES), RGB, train=True))
    moved = batch_of(prepare_dataset(rows(CLASSES), RGB, train=True, augment="crop-flip"))
    assert not torch.equal(plain["pixel_values"], moved["pixel_values"])
    with pytest.raises(ValueError, match="Unknown augmentation"):
        prepare_dataset(rows(CLASSES), RGB, train=True, augment="crop")
