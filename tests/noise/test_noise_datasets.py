"""`add_label_noise` gives the same labels however the rows are stored, split, streamed or ordered."""

from __future__ import annotations

import io
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Image,
    IterableDataset,
    IterableDatasetDict,
    Value,
)
from datasets.distributed import split_dataset_by_node
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags
from PIL import Image as PILImage

from jal_hf.noise import add_label_noise, create_noise
from jal_hf.noise import dataset as dataset_module

NAMES = ["ant", "bee", "cow", "dog", "eel"]
COUNT = 600


@pytest.fixture(scope="module")
def rows() -> Dataset:
    """Tiny real PNGs, a text id, a number and a label."""
    generator = np.random.default_rng(0)
    features = Features(
        {
            "image": Image(),
            "label": ClassLabel(names=NAMES),
            "name": Value("string"),
            "number": Value("int64"),
        }
    )
    pixels = generator.integers(0, 256, (COUNT, 4, 5, 3), dtype=np.uint8)
    return Dataset.from_dict(
        {
            "image": [PILImage.fromarray(image) for image in pixels],
            "label": generator.integers(0, 5, COUNT),
            "name": [f"picture-{number}" for number in range(COUNT)],
            "number": np.arange(COUNT),
        },
        features=features,
    )


def noisy_labels(dataset: Any) -> np.ndarray:
    if isinstance(dataset, IterableDataset):
        return np.array([row["label"] for row in dataset])
    return np.array(dataset["label"])


def test_labels_and_clean_labels_keep_the_feature_and_other_columns_their_values(rows: Dataset) -> None:
    noisy = add_label_noise(rows, "symmetric:0.4", seed=1)
    assert noisy.column_names == ["image", "label", "name", "number", "clean_label"]
    assert noisy.features["label"] == noisy.features["clean_label"] == rows.features["label"]
    assert np.array_equal(noisy["clean_label"], rows["label"])
    assert noisy["name"][:] == rows["name"][:]
    assert noisy[7]["image"].tobytes() == rows[7]["image"].tobytes()
    expected = create_noise("symmetric:0.4", 5).corrupt(rows["label"][:], seed=1)
    assert np.array_equal(noisy_labels(noisy), expected)


@pytest.mark.parametrize("spec", ["symmetric:0.4", "pairflip:0.3", "idn:0.4", "pdn:0.4"])
@pytest.mark.parametrize("key", ["number", "name"])
def test_labels_follow_rows_through_shuffles_and_ids(rows: Dataset, spec: str, key: str) -> None:
    noisy = add_label_noise(rows, spec, index_column=key)
    shuffled = add_label_noise(rows.shuffle(seed=3), spec, index_column=key)
    assert np.array_equal(noisy_labels(noisy)[shuffled["number"]], noisy_labels(shuffled))
    if key == "number":
        assert np.array_equal(noisy_labels(noisy), noisy_labels(add_label_noise(rows, spec)))


@pytest.mark.parametrize("spec", ["symmetric:0.4,mode=iid", "idn:0.4,mode=iid", "pdn:0.4"])
def test_iid_labels_are_the_same_in_shards_and_streams(rows: Dataset, spec: str) -> None:
    whole = noisy_labels(add_label_noise(rows, spec))
    for number in range(3):
        shard = rows.shard(3, number)
        labels = noisy_labels(add_label_noise(shard, spec, index_column="number"))
        assert np.array_equal(labels, whole[shard["number"]])
    for batch_size in (1, 7, 1000):
        stream = add_label_noise(rows.to_iterable_dataset(), spec, batch_size=batch_size)
        assert np.array_equal(noisy_labels(stream), whole)
    stream = add_label_noise(rows.to_iterable_dataset(num_shards=4), spec, index_column="name")
    keyed = noisy_labels(add_label_noise(rows, spec, index_column="name"))
    parts = [row for number in range(2) for row in stream.shard(2, number)]
    assert {row["name"]: row["label"] for row in parts} == dict(
        zip(rows["name"], keyed.tolist(), strict=True)
    )
    buffered = list(stream.shuffle(seed=1, buffer_size=50))
    assert {row["name"]: row["label"] for row in buffered} == {row["name"]: row["label"] for row in parts}


@pytest.mark.parametrize("spec", ["symmetric:0.4", "idn:0.4"])
def test_labels_are_the_same_for_any_number_of_processes(rows: Dataset, spec: str) -> None:
    whole = noisy_labels(add_label_noise(rows, spec))
    for num_proc in (1, 2, 4):
        copied = rows.map(lambda batch: batch, batched=True, batch_size=100, num_proc=num_proc)
        assert np.array_equal(noisy_labels(add_label_noise(copied, spec, num_proc=num_proc)), whole)
    prints = {add_label_noise(rows, spec, num_proc=num_proc)._fingerprint for num_proc in (None, 1, 2)}
    assert len(prints) == 1


def test_stream_keeps_features_and_survives_worker_processes(rows: Dataset) -> None:
    from torch.utils.data import DataLoader

    stream = add_label_noise(
        rows.to_iterable_dataset(num_shards=4), "symmetric:0.4,mode=iid", index_column="number"
    )
    assert stream.features["label"] == stream.features["clean_label"] == rows.features["label"]
    expected = noisy_labels(add_label_noise(rows, "symmetric:0.4,mode=iid"))
    loader = DataLoader(stream.select_columns(["label", "number"]), batch_size=50, num_workers=2)
    seen = {int(n): int(y) for batch in loader for n, y in zip(batch["number"], batch["label"], strict=True)}
    assert [seen[number] for number in range(COUNT)] == expected.tolist()


def test_stream_without_ids_gives_a_row_one_label_however_it_is_read(rows: Dataset) -> None:
    from torch.utils.data import DataLoader

    spec = "symmetric:0.4,mode=iid"
    whole = noisy_labels(add_label_noise(rows, spec))
    shards = rows.remove_columns("image").to_iterable_dataset(num_shards=4)
    stream = add_label_noise(shards, spec)
    shuffled = stream.shuffle(seed=3, buffer_size=50)
    parts = [row for rank in range(3) for row in split_dataset_by_node(stream, rank, 3)]
    loader = DataLoader(stream.select_columns(["label", "number"]), batch_size=None, num_workers=2)
    orders = [list(stream), list(shuffled), parts, list(loader)]
    for number in (1, 2):
        stream.set_epoch(number)
        shuffled.set_epoch(number)
        orders += [list(stream), list(shuffled)]
    for order in orders:
        assert {row["number"]: row["label"] for row in order} == dict(enumerate(whole.tolist()))
        assert len(order) == COUNT
    assert [row["number"] for row in orders[1]] != [row["number"] for row in orders[-1]]

    first = add_label_noise(shards.shuffle(seed=3, buffer_size=50), spec)
    labels = [row["label"] for row in first]
    first.set_epoch(1)
    assert [row["label"] for row in first] == labels


def test_part_of_a_stream_without_ids_is_refused(rows: Dataset) -> None:
    part = split_dataset_by_node(rows.to_iterable_dataset(num_shards=4), 0, 2)
    with pytest.raises(ValueError, match=r"split it after the noise, or give index_column"):
        add_label_noise(part, "symmetric:0.4,mode=iid")
    labels = noisy_labels(add_label_noise(rows, "symmetric:0.4,mode=iid", index_column="name"))
    for row in add_label_noise(part, "symmetric:0.4,mode=iid", index_column="name"):
        assert row["label"] == labels[row["number"]]


def test_stream_of_unknown_features_gets_labels_too() -> None:
    def rows() -> Any:
        yield from ({"label": number % 5, "text": str(number)} for number in range(100))

    stream = IterableDatasetDict({"train": IterableDataset.from_generator(rows)})
    noisy = add_label_noise(stream, create_noise("symmetric:0.4,mode=iid", 5))
    assert isinstance(noisy, IterableDatasetDict)
    expected = create_noise("symmetric:0.4,mode=iid", 5).corrupt(np.arange(100) % 5)
    assert np.array_equal(noisy_labels(noisy["train"]), expected)
    assert [row["clean_label"] for row in noisy["train"]] == [number % 5 for number in range(100)]


def test_stream_with_missing_labels_is_refused_when_they_pass(rows: Dataset) -> None:
    gaps = with_labels(rows, [None, *([1] * (COUNT - 1))]).to_iterable_dataset()
    with pytest.raises(ValueError, match="rows without 'label'"):
        list(add_label_noise(gaps, "symmetric:0.4,mode=iid"))


WRONG_LABELS = [-1, 5, 2**40, None, 0.5, float("nan"), "bee", True, [1]]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_label_column_gives_labels_or_a_sentence(data: st.DataObject) -> None:
    labels: list[Any] = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    for position in data.draw(st.lists(st.integers(0, len(labels) - 1), max_size=3)):
        labels[position] = data.draw(st.sampled_from(WRONG_LABELS))
    try:
        table = Dataset.from_dict({"label": labels})
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return  # no dataset holds such a mixture
    try:
        noisy = noisy_labels(add_label_noise(table, create_noise("symmetric:0.4", 5)))
    except (ValueError, TypeError) as error:
        sentence = str(error)
    else:
        assert all(isinstance(label, int) and 0 <= label < 5 for label in labels)
        assert ((noisy >= 0) & (noisy < 5)).all()
        return
    assert sentence.endswith(".")
    assert len(sentence.split()) > 5


def test_exact_noise_on_a_stream_says_how_to_make_it_iid(rows: Dataset, tmp_path: Any) -> None:
    np.save(tmp_path / "T.npy", np.eye(5) * 0.6 + 0.08)
    matrix = f"matrix:{tmp_path / 'T.npy'}"
    for spec in (
        "symmetric:0.4",
        "idn:0.4",
        "symmetric:0.4,include_true=true",
        "asymmetric:0.3,classes=0>1",
        matrix,
    ):
        with pytest.raises(ValueError, match="add mode=iid, as in") as refused:
            add_label_noise(rows.to_iterable_dataset(), spec)
        advised = str(refused.value).split("as in '")[1].removesuffix("'.")
        stream = add_label_noise(rows.to_iterable_dataset(), advised)
        assert np.array_equal(noisy_labels(stream), noisy_labels(add_label_noise(rows, f"{spec},mode=iid")))


@pytest.mark.parametrize("spec", ["symmetric:0.4", "idn:0.4"])
def test_second_call_reads_the_cache(
    rows: Dataset, spec: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.to_parquet(str(tmp_path / "rows.parquet"))

    def load() -> Dataset:
        return datasets.load_dataset(
            "parquet",
            data_files=str(tmp_path / "rows.parquet"),
            cache_dir=str(tmp_path / "cache"),
            split="train",
        )

    first = add_label_noise(load(), spec)
    drawn: list[int] = []
    monkeypatch.setattr(
        type(create_noise(spec, 5)), "_draw", lambda self, labels, *rest: drawn.append(1) or labels
    )
    second = add_label_noise(load(), spec)
    assert first._fingerprint == second._fingerprint
    assert np.array_equal(noisy_labels(first), noisy_labels(second))
    assert not drawn
    other = add_label_noise(load(), spec, seed=1)
    assert drawn
    assert other._fingerprint != first._fingerprint


def test_fingerprint_tells_contents_of_files_apart(rows: Dataset, tmp_path: Any) -> None:
    path = tmp_path / "labels.npy"
    prints = set()
    for shift in (1, 2):
        np.save(path, (np.array(rows["label"]) + shift) % 5)
        prints.add(add_label_noise(rows, f"labels:{path}")._fingerprint)
    assert len(prints) == 2


def test_only_the_training_split_of_a_dict_gets_noise(rows: Dataset) -> None:
    whole = DatasetDict({"train": rows, "test": rows.select(range(50))})
    noisy = add_label_noise(whole, "symmetric:0.4")
    assert type(noisy) is DatasetDict
    assert noisy["test"] is whole["test"]
    assert "clean_label" in noisy["train"].column_names
    with pytest.raises(ValueError, match=r"no split 'training'. Did you mean 'train'"):
        add_label_noise(whole, "symmetric:0.4", splits=("training",))
    with pytest.raises(ValueError, match="There are valid"):
        add_label_noise(DatasetDict({"valid": rows}), "symmetric:0.4")


def test_one_split_may_be_a_string(rows: Dataset) -> None:
    both = DatasetDict({"train": rows, "test": rows})
    found = add_label_noise(both, "symmetric:0.4", splits="test")
    assert "clean_label" not in found["train"].column_names
    assert found["test"]["label"][:] == add_label_noise(rows, "symmetric:0.4")["label"][:]
    with pytest.raises(ValueError, match=r"no split 'tets'\. Did you mean 'test'"):
        add_label_noise(both, "symmetric:0.4", splits="tets")


def test_plain_integers_get_noise_that_knows_its_classes(rows: Dataset) -> None:
    plain = rows.cast_column("label", Value("int64"))
    noise = create_noise("symmetric:0.4", num_classes=len(NAMES))
    assert add_label_noise(plain, noise)["label"][:] == add_label_noise(rows, noise)["label"][:]


@pytest.mark.parametrize("settings", [{"mean": 0.4}, {"std": 0.4}, {"mean": "0.4"}, {"std": ["a", "b", "c"]}])
def test_normalisation_that_is_no_list_is_refused(rows: Dataset, settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"(mean|std) is .*; give a list of one number for each channel"):
        add_label_noise(rows, "idn:0.4", **settings)


def test_exact_labels_depend_on_the_rows_given_and_iid_labels_do_not(rows: Dataset) -> None:
    part, ids = rows.select(range(0, COUNT, 2)), np.arange(0, COUNT, 2)
    for mode, is_same in (("exact", False), ("iid", True)):
        noise = create_noise(f"symmetric:0.4,mode={mode}", num_classes=len(NAMES))
        whole = noise.corrupt(rows["label"][:], seed=1)
        alone = noise.corrupt(part["label"][:], seed=1, index=ids)
        assert np.array_equal(alone, whole[ids]) == is_same
        backwards = noise.corrupt(rows["label"][::-1], seed=1, index=np.arange(COUNT)[::-1])
        assert np.array_equal(backwards[::-1], whole)


def test_format_is_kept(rows: Dataset) -> None:
    noisy = add_label_noise(rows.with_format("numpy", columns=["label"]), "symmetric:0.4")
    assert set(noisy[:2]) == {"label", "clean_label"}
    assert isinstance(noisy[:2]["label"], np.ndarray)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.rename_column("label", "labels"), "no column 'label'. Did you mean 'labels'"),
        (lambda rows: rows.add_column("clean_label", rows["label"][:]), "already has a column 'clean_label'"),
        (lambda rows: rows.select([]), "no rows"),
        (lambda rows: rows.cast_column("label", Value("float32")), r"class_encode_column\('label'\)"),
        (
            lambda rows: rows.cast_column("label", Value("int64")),
            r"give create_noise\('symmetric:0.4', num_classes=K\)",
        ),
        (lambda rows: with_labels(rows, [None, *([1] * (COUNT - 1))]), r"first rows \[0\]"),
        (lambda rows: with_labels(rows, [7, *([1] * (COUNT - 1))]), "row 0 holds 7"),
        (lambda rows: [1, 2], "not list"),
    ],
)
def test_dataset_without_usable_labels_is_refused(rows: Dataset, change: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        add_label_noise(change(rows), "symmetric:0.4")


def with_labels(rows: Dataset, labels: list[int | None]) -> Dataset:
    """Labels that the feature does not allow: cast_column lets them through."""
    changed = rows.remove_columns(["label"]).add_column("label", labels)
    return changed.cast_column("label", ClassLabel(names=NAMES))


@pytest.mark.parametrize("column", ["label", "name"])
def test_labels_that_are_no_integers_are_refused(rows: Dataset, column: str) -> None:
    changed = rows.cast_column("label", Value("float32"))
    with pytest.raises(TypeError, match="labels must be integers"):
        add_label_noise(changed, create_noise("symmetric:0.4", 5), label_column=column)


def test_ids_that_repeat_or_are_missing_are_refused(rows: Dataset) -> None:
    twice = rows.remove_columns(["name"]).add_column("name", ["a", "b"] * (COUNT // 2))
    with pytest.raises(ValueError, match="more than once"):
        add_label_noise(twice, "symmetric:0.4", index_column="name")
    with pytest.raises(ValueError, match="Did you mean 'number'"):
        add_label_noise(rows, "symmetric:0.4", index_column="numbr")


def test_instance_noise_asks_for_images_of_one_size(rows: Dataset) -> None:
    noise = create_noise("idn:0.4", 5)
    with pytest.raises(ValueError, match="no column of them"):
        add_label_noise(rows.remove_columns(["image"]), noise)
    with pytest.raises(ValueError, match="'name' holds no images"):
        add_label_noise(rows, noise, image_column="name")
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    sizes = [PILImage.new("RGB", (4 + number % 2, 4), number) for number in range(10)]
    mixed = Dataset.from_dict({"image": sizes, "label": [0] * 10}, features=features)
    with pytest.raises(ValueError, match=r"2 sizes .*give image_size"):
        add_label_noise(mixed, noise)
    assert (noisy_labels(add_label_noise(mixed, noise, image_size=4)) != 0).sum() == 4
    empty = Dataset.from_dict({"image": [None] * 10, "label": [0] * 10}, features=features)
    with pytest.raises(ValueError, match="Row 0 has no image"):
        add_label_noise(empty, noise)
    broken = Dataset.from_dict(
        {"image": [{"bytes": b"no image", "path": None}] * 10, "label": [0] * 10}, features=features
    )
    with pytest.raises(ValueError, match="Row 0 is not a readable image"):
        add_label_noise(broken, noise)


@pytest.mark.parametrize("suffix", ["jpeg", "png"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_instance_noise_sees_photographs_upright_in_datasets_and_streams(
    suffix: str, orientation: int
) -> None:
    generator, encoded = np.random.default_rng(0), []
    exif = PILImage.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for _ in range(60):
        file = io.BytesIO()
        picture = PILImage.fromarray(generator.integers(0, 256, (6, 10, 3), dtype=np.uint8))
        picture.save(file, suffix, exif=exif)
        encoded.append({"bytes": file.getvalue(), "path": None})
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    photographs = Dataset.from_dict(
        {"image": encoded, "label": [number % 5 for number in range(60)]}, features
    )
    turned = [PILImage.fromarray(np.asarray(image)) for image in photographs["image"]]
    upright = Dataset.from_dict({"image": turned, "label": photographs["label"][:]}, features)
    expected = noisy_labels(add_label_noise(upright, "idn:0.6,mode=iid"))
    stream = photographs.to_iterable_dataset()
    for form in (photographs, stream, stream.cast_column("image", Image(decode=False))):
        assert np.array_equal(noisy_labels(add_label_noise(form, "idn:0.6,mode=iid")), expected)


def test_features_are_channels_first_normalised_pixels(rows: Dataset) -> None:
    noise = create_noise("idn:0.4", 5)
    pixels = np.stack([np.asarray(image) for image in rows["image"]]) / 255.0
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    features = ((pixels - mean) / std).transpose(0, 3, 1, 2).reshape(COUNT, -1)
    expected = noise.corrupt(rows["label"][:], features=features)
    assert np.array_equal(noisy_labels(add_label_noise(rows, noise, mean=mean, std=std)), expected)
    assert np.array_equal(noisy_labels(add_label_noise(rows, noise, features=features)), expected)


def test_cache_version_is_part_of_the_fingerprint(rows: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = add_label_noise(rows, "symmetric:0.4")._fingerprint
    monkeypatch.setattr(dataset_module, "_DRAW_VERSION", -1)
    assert add_label_noise(rows, "symmetric:0.4")._fingerprint != before
