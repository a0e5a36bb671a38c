"""Streams: the same rows, noise and images as the table, for any number of workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from jal_hf.data import collate_images, load_noisy_dataset, make_image_dataset
from jal_hf.ground.image_files import UnreadableImageError
from tests.data.conftest import colour_images, encoded


def test_stream_gives_the_same_images_and_noise_as_the_table(write_tar: Callable[..., Path]) -> None:
    write_tar("train-0.tar", [0, 1, 2, 3] * 10)
    folder = write_tar("train-1.tar", [3, 2, 1, 0] * 10, first=40).parent
    spec = "symmetric:0.4,mode=iid"
    table = load_noisy_dataset(str(folder), noise=spec)
    stream = load_noisy_dataset(str(folder), noise=spec, streaming=True)
    assert stream.num_classes == 4
    options = {"augment": "crop-flip", "train": True, "seed": 1}
    rows = colour_images(table["train"], 16, **options).__getitems__(list(range(80)))
    for workers in (0, 2):
        dataset = colour_images(stream["train"], 16, shuffle_buffer=16, **options)
        loader = DataLoader(dataset, batch_size=8, num_workers=workers, collate_fn=collate_images)
        batches = list(loader)
        index = torch.cat([batch["index"] for batch in batches])
        assert sorted(index.tolist()) == list(range(80))
        assert index.tolist() != list(range(80))
        for name in ("pixel_values", "labels", "clean_label"):
            assert torch.equal(torch.cat([batch[name] for batch in batches]), rows[name][index])


def test_stream_shuffles_anew_each_epoch_and_repeats_by_seed(write_tar: Callable[..., Path]) -> None:
    folder = write_tar("train-0.tar", [0, 1] * 20).parent
    stream = load_noisy_dataset(str(folder), streaming=True)["train"]

    def order(epoch: int, seed: int) -> list[int]:
        dataset = colour_images(stream, 16, train=True, seed=seed, shuffle_buffer=10)
        dataset.set_epoch(epoch)
        return [int(sample["index"]) for sample in dataset]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_stream_of_the_hub_layout_keeps_class_names(shared: Path) -> None:
    stream = load_noisy_dataset(str(shared / "data/cifar10"), streaming=True, max_eval_samples=10)
    table = load_noisy_dataset(str(shared / "data/cifar10"))
    assert stream.class_names == table.class_names
    dataset = make_image_dataset(
        stream["test"], image_column="img", label_column="label", image_size=32, mean=[0.5] * 3, std=[0.2] * 3
    )
    assert [int(sample["index"]) for sample in dataset] == list(range(10))


def test_stream_keeps_the_row_numbers_of_its_rows() -> None:
    spec = "symmetric:0.4,mode=iid"
    table, stream = (
        load_noisy_dataset("digits", noise=spec),
        load_noisy_dataset("digits", noise=spec, streaming=True),
    )
    rows = [(row["index"], row["label"]) for row in stream["train"].take(200)]
    assert rows == list(zip(table["train"]["index"][:200], table["train"]["label"][:200], strict=True))


def test_stream_keeps_numbers_and_noise_of_rows_where_shards_are_shuffled_and_split() -> None:
    digits = load_noisy_dataset("digits")["train"].select_columns(["image", "label"]).select(range(96))
    given = digits.to_iterable_dataset(num_shards=4)
    train = load_noisy_dataset(given, noise="symmetric:0.4,mode=iid")["train"]
    rows = {row["index"]: (row["label"], row["image"]["bytes"]) for row in train}
    assert sorted(rows) == list(range(96))
    shuffled = train.shuffle(seed=1, buffer_size=10)
    shuffled.set_epoch(1)
    parts = [row for rank in range(2) for row in split_dataset_by_node(train, rank, 2)]
    for order in (list(shuffled), parts):
        assert {row["index"]: (row["label"], row["image"]["bytes"]) for row in order} == rows


def test_stream_refuses_noise_that_needs_all_labels(write_tar: Callable[..., Path]) -> None:
    folder = write_tar("train-0.tar", [0, 1] * 5).parent
    with pytest.raises(ValueError, match="mode=iid"):
        load_noisy_dataset(str(folder), noise="symmetric:0.4", streaming=True)
    with pytest.raises(ValueError, match="val_fraction"):
        load_noisy_dataset(str(folder), val_fraction=0.1, streaming=True)


def test_stream_counts_skipped_images_and_refuses_too_many(write_tar: Callable[..., Path]) -> None:
    stream = load_noisy_dataset(str(write_tar("train-0.tar", [0, 1] * 20).parent), streaming=True)["train"]

    def spoil(row: dict[str, Any], every: int) -> dict[str, Any]:
        if row["index"] % every == 0:
            row["image"] = {"bytes": b"broken", "path": None}
        return row

    few = colour_images(stream.map(spoil, fn_kwargs={"every": 39}), 16, on_bad_image="skip")
    with pytest.raises(UnreadableImageError, match="Row 0"):
        list(colour_images(stream.map(spoil, fn_kwargs={"every": 39}), 16))
    assert len(list(few)) == 38
    assert few.skipped_images == 2
    with pytest.raises(UnreadableImageError, match="more than 5%"):
        list(colour_images(stream.map(spoil, fn_kwargs={"every": 5}), 16, on_bad_image="skip"))


def test_stream_row_with_a_label_out_of_range_is_named(write_tar: Callable[..., Path]) -> None:
    folder = write_tar("train-0.tar", [0, 1, 2, 9]).parent
    stream = load_noisy_dataset(str(folder), streaming=True, num_classes=3)["train"]
    with pytest.raises(ValueError, match=r"Row 3 .* label 9"):
        list(colour_images(stream, 16))


def _rows(**columns: list[Any]) -> datasets.Dataset:
    images = [{"bytes": encoded(seed), "path": None} for seed in range(len(columns["label"]))]
    rows = datasets.Dataset.from_dict({"image": images, **columns}).cast_column("image", datasets.Image())
    is_numbered = isinstance(columns["label"][0], int) and not isinstance(columns["label"][0], bool)
    return rows.cast_column("label", datasets.ClassLabel(names=["a", "b", "c"])) if is_numbered else rows


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [0, 1, 2, 0, 1, 2], "sample_weight": [0.5, 1, 0, 2, 1, 1]},
        {"label": [0, 1, 2, 0, 1, 2], "clean_label": list("abccba")},
        {"label": [True, False] * 3, "clean_label": [True] * 4 + [False] * 2},
    ],
    ids=["weights", "clean texts", "truths"],
)
def test_stream_gives_the_columns_of_the_table(columns: dict[str, list[Any]]) -> None:
    """A stream once trained without the weights, which nobody was told."""
    rows = _rows(**columns)
    table, stream = load_noisy_dataset(rows), load_noisy_dataset(rows.to_iterable_dataset())
    assert stream.class_names == table.class_names
    expected = colour_images(table["train"], 16, train=True).__getitems__(list(range(6)))
    batch = collate_images(list(colour_images(stream["train"], 16, train=True, shuffle_buffer=1)))
    assert set(batch) == set(expected)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_stream_marks_rows_whose_true_class_is_not_known() -> None:
    stream = load_noisy_dataset(_rows(label=[0, 1, 0], clean_label=[None, 1, 0]).to_iterable_dataset())
    assert [row["clean_label"] for row in stream["train"]] == [-100, 1, 0]


@pytest.mark.parametrize("weight", [None, -1.0, float("nan"), float("inf"), "much"])
@pytest.mark.parametrize("streams", [False, True])
def test_weights_that_cannot_be_trained_with_are_refused_by_row(weight: Any, streams: bool) -> None:
    weights = [str(number) for number in range(3)] if isinstance(weight, str) else [1.0, 0.0, 1.0]
    rows = _rows(label=[0, 1, 0, 1], sample_weight=[*weights, weight])
    with pytest.raises(
        ValueError, match=r"sample_weight.*(at row 3;|holds text;|a weight is a finite number)"
    ):
        list(load_noisy_dataset(rows.to_iterable_dataset() if streams else rows)["train"])


def test_empty_weights_of_a_test_split_are_none() -> None:
    full, empty = (
        _rows(label=[0, 1, 0, 1], sample_weight=weights).cast_column(
            "sample_weight", datasets.Value("float32")
        )
        for weights in ([1.0, 0.5, 1.0, 0.0], [None] * 4)
    )
    table = load_noisy_dataset(datasets.DatasetDict(train=full, test=empty))
    assert "sample_weight" not in table["test"].column_names
    streams = {"train": full.to_iterable_dataset(), "test": empty.to_iterable_dataset()}
    stream = load_noisy_dataset(datasets.IterableDatasetDict(streams))
    assert [row["label"] for row in stream["test"]] == [0, 1, 0, 1]


def split_by_rows(folder: Path, cells: list[str]) -> datasets.Dataset:
    """16 images, every second of them unreadable and of the first split that is named, also as files in `folder`."""
    rows = {
        "image": [{"bytes": encoded(row) if row % 2 else b"no image", "path": None} for row in range(16)],
        "label": [row % 3 for row in range(16)],
        "split": [cells[row % 2] for row in range(16)],
    }
    names = datasets.ClassLabel(names=["a", "b", "c"])
    kinds = {"image": datasets.Image(), "label": names, "split": datasets.Value("string")}
    found = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    found.to_parquet(str(folder / "table.parquet"))
    found.save_to_disk(str(folder / "disk"))
    return found


@pytest.mark.parametrize("name", ["table.parquet", "disk"])
def test_stream_is_split_by_the_column_that_splits_its_table(tmp_path: Path, name: str) -> None:
    rows = split_by_rows(tmp_path, ["Test", "train"])
    stream = load_noisy_dataset(str(tmp_path / name), noise="symmetric:0.4,mode=iid", streaming=True)
    labels = rows.select_columns("label")["label"][1::2]
    # No image of the other rows is opened.
    assert [(row["index"], row["clean_label"]) for row in stream["train"]] == list(enumerate(labels))
    assert [row["index"] for row in stream["test"]] == list(range(8))
    assert stream.warnings == ["The rows are split by their column 'split': 8 test, 8 train."]


def test_stream_of_somebody_elses_says_that_it_is_not_split(tmp_path: Path) -> None:
    rows = split_by_rows(tmp_path, ["test", "train"])
    said = load_noisy_dataset(rows.to_iterable_dataset()).warnings
    assert [warning.partition(",")[0] for warning in said] == ["The column 'split' names splits"]
    other = split_by_rows(tmp_path, ["train", "held out"])
    assert not load_noisy_dataset(other.to_iterable_dataset()).warnings
    assert list(load_noisy_dataset(str(tmp_path / "table.parquet"), streaming=True)) == ["train"]
