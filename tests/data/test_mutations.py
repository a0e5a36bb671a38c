"""Broken labels, files, images and specs: a sentence or a counted skip, and never a run on garbage."""

from __future__ import annotations

import io
import math
import tarfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jal_hf.data import load_noisy_dataset, make_image_dataset
from tests.data.conftest import encoded

ROWS = 24
IMAGES = [encoded(seed) for seed in range(ROWS)]
MUTATED = settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check_outcome(dataset: Any, **options: Any) -> None:
    """Either a sentence, or data in which every label is a class and every image decodes."""
    try:
        data = load_noisy_dataset(dataset, **options)
        channels = {"mean": [0.5] * 3, "std": [0.2] * 3, "image_size": 16}
        columns = {"image_column": data.image_column, "label_column": data.label_column}
        batches = {
            name: make_image_dataset(split, **columns, **channels).__getitems__(list(range(len(split))))
            for name, split in data.items()
        }
    except (ValueError, FileNotFoundError, TypeError) as error:
        text = str(error)
        assert " " in text, repr(text)
        assert len(text) > 15, repr(text)
        assert text.rstrip().endswith((".", ":", ")", "'", '"', "]")) or len(text.split()) > 4
        assert "object at 0x" not in text
        return
    for batch in batches.values():
        labels = batch["labels"]
        assert ((labels >= 0) & (labels < data.num_classes)).all()
        assert batch["pixel_values"].isfinite().all()
    assert len(data["train"]) + data.skipped_images + len(data.get("validation", [])) >= min(
        ROWS, options.get("max_train_samples") or ROWS
    )


def write_rows(folder: Path, table: pa.Table) -> str:
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    return str(folder)


LABEL = st.one_of(
    st.integers(-3, 4),
    st.sampled_from([None, math.nan, 0.5, 1.0, "cat", "", 10**12, -100, True, [1], {"id": 1}, b"x", 2**40]),
)


@MUTATED
@given(wrong=st.lists(st.tuples(st.integers(0, ROWS - 1), LABEL), max_size=4), everywhere=st.none() | LABEL)
def test_mutated_labels_are_refused_or_classes(
    tmp_path: Path, wrong: list[tuple[int, Any]], everywhere: Any
) -> None:
    labels: list[Any] = [row % 3 if everywhere is None else everywhere for row in range(ROWS)]
    for row, label in wrong:
        labels[row] = label
    images = [{"bytes": image, "path": None} for image in IMAGES]
    try:
        column = pa.array(labels)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        column = pa.array([None if label is None else str(label) for label in labels])
    check_outcome(write_rows(tmp_path / "rows", pa.table({"image": images, "label": column})))


@MUTATED
@given(
    row=st.integers(0, ROWS - 1),
    cut=st.integers(0, 200),
    junk=st.binary(max_size=60),
    way=st.sampled_from(["cut", "junk", "flip", "none", "empty", "huge"]),
    policy=st.sampled_from(["error", "skip"]),
)
def test_mutated_images_stop_or_are_counted(
    tmp_path: Path, row: int, cut: int, junk: bytes, way: str, policy: str
) -> None:
    content: bytes | None = IMAGES[row]
    assert content is not None
    if way == "cut":
        content = content[:cut]
    elif way == "junk":
        content = junk
    elif way == "flip":
        content = content[:cut] + bytes(255 - byte for byte in content[cut : cut + 8]) + content[cut + 8 :]
    elif way == "none":
        content = None
    elif way == "huge":
        # A header that claims 60,000 x 60,000 pixels.
        content = content[:16] + (60_000).to_bytes(4, "big") * 2 + content[24:]
    else:
        content = b""
    images: list[Any] = [{"bytes": image, "path": None} for image in IMAGES]
    images[row] = {"bytes": content, "path": None} if content is not None else None
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"image": images, "label": [number % 3 for number in range(ROWS)]}
    check_outcome(datasets.Dataset.from_dict(rows, features=features), on_bad_image=policy)


@MUTATED
@given(
    name=st.sampled_from(["train-00000-of-00001.parquet", "train-0.tar", "train/cat/0.png", "README.md"]),
    cut=st.integers(0, 3000),
    junk=st.binary(max_size=40),
    replace=st.booleans(),
)
def test_mutated_files_are_refused_or_read(
    tmp_path: Path, name: str, cut: int, junk: bytes, replace: bool
) -> None:
    folder = tmp_path / "files"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in folder.rglob("*"):
        if other.is_file():
            other.unlink()
    if name.endswith((".parquet", ".md")):
        images = [{"bytes": image, "path": None} for image in IMAGES]
        write_rows(folder, pa.table({"image": images, "label": [row % 3 for row in range(ROWS)]}))
        if name.endswith(".md"):
            path.write_bytes(b"---\nconfigs:\n- config_name: a\n  data_files: train-*\n---\n")
    elif name.endswith(".tar"):
        with tarfile.open(path, "w") as archive:
            for row in range(ROWS):
                for ending, content in (("png", IMAGES[row]), ("cls", str(row % 3).encode())):
                    entry = tarfile.TarInfo(f"{row:03d}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    else:
        for row in range(ROWS):
            image = folder / "train" / ("cat", "dog")[row % 2] / f"{row // 2}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(IMAGES[row])
    content = path.read_bytes()
    path.write_bytes(junk if replace else content[:cut] + junk + content[cut + len(junk) :])
    check_outcome(str(folder))


WORDS = st.sampled_from(
    [
        "symmetric",
        "asymmetric",
        "pairflip",
        "idn",
        "matrix",
        "labels",
        "human",
        "none",
        "symetric",
        "",
        ":",
        "0.4",
    ]
)
NUMBERS = st.sampled_from(["0.4", "1.5", "-1", "nan", "inf", "x", "", "40%", "T.npy", "a.parquet#b", "1e400"])


@MUTATED
@given(
    kind=WORDS,
    rate=NUMBERS,
    option=st.sampled_from(["", ",mode=iid", ",mode=", ",modes=iid", ",classes=cifar10", ",,", ",=", "#x"]),
    val_fraction=st.sampled_from([0.0, 0.2, 1.0, -0.1, math.nan]),
    max_train_samples=st.sampled_from([None, 0, -5, 10, 10**9]),
)
def test_mutated_specs_are_refused_or_realised(
    kind: str, rate: str, option: str, val_fraction: float, max_train_samples: int | None
) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {
        "image": [{"bytes": image, "path": None} for image in IMAGES],
        "label": [n % 3 for n in range(ROWS)],
    }
    check_outcome(
        datasets.Dataset.from_dict(rows, features=features),
        noise=f"{kind}:{rate}{option}" if rate else kind + option,
        val_fraction=val_fraction,
        max_train_samples=max_train_samples,
    )


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, None, 1], r"missing value.* row 2"),
        ([0.0, 1.0, math.nan, 1.0], r"missing value.* row 2"),
        ([0.0, 1.0, 1.0, 1.0], "double values"),
        ([0, 1, -1, 1], r"outside \[0, 2\).* row 2"),
        ([0, 1, 10**9, 1], "class ids must run from 0 to K-1"),
        ([[0], [1], [0], [1]], "list"),
        ([1, 1, 1, 1], "at least two"),
        (["a", "b", "", "a"], "empty text at row 2"),
        ([-100] * 4, "No row"),
    ],
)
def test_labels_that_cannot_be_trained_on_are_named(labels: list[Any], sentence: str) -> None:
    table = pa.table(
        {"image": [{"bytes": image, "path": None} for image in IMAGES[:4]], "label": pa.array(labels)}
    )
    with pytest.raises(ValueError, match=sentence):
        load_noisy_dataset(datasets.Dataset(table))


def test_class_label_ids_beyond_the_names_are_refused() -> None:
    # cast_column to ClassLabel accepts such ids in silence.
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": image} for image in IMAGES[:4]], "label": [0, 1, 7, 1]}
    )
    table = pa.table({"image": [{"bytes": b, "path": None} for b in IMAGES[:4]], "label": [0, 1, 7, 1]})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    with pytest.raises(ValueError, match=r"outside \[0, 2\) .such as 7. at row 2"):
        load_noisy_dataset(datasets.Dataset(table.cast(features.arrow_schema)))
    assert len(rows) == 4


def test_ignored_rows_and_unseen_classes_are_warned_about() -> None:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    rows = {"image": [{"bytes": image, "path": None} for image in IMAGES[:4]], "label": [0, 1, 1, 0]}
    data = load_noisy_dataset(datasets.Dataset.from_dict(rows, features=features))
    assert any("never occur" in warning and "'c'" in warning for warning in data.warnings)


def test_test_split_with_other_class_order_is_carried_over_by_name() -> None:
    def split(names: list[str], labels: list[int]) -> datasets.Dataset:
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        images = [{"bytes": image, "path": None} for image in IMAGES[: len(labels)]]
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    data = load_noisy_dataset(
        {"train": split(["a", "b"], [0, 1, 0, 1]), "test": split(["b", "a"], [0, 0, 1])}
    )
    assert data["test"]["label"][:] == [1, 1, 0]
    with pytest.raises(ValueError, match="'z'"):
        load_noisy_dataset({"train": split(["a", "b"], [0, 1]), "test": split(["z", "a"], [0, 1])})


def test_empty_split_and_missing_columns_are_refused() -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    empty = datasets.Dataset.from_dict({"image": [], "label": []}, features=features)
    with pytest.raises(ValueError, match="'train' is empty"):
        load_noisy_dataset(empty)
    with pytest.raises(ValueError, match=r"no label column 'lable'\. Did you mean 'label'"):
        load_noisy_dataset("digits", label_column="lable")
    with pytest.raises(ValueError, match="no split 'tests'"):
        load_noisy_dataset("digits", eval_split="tests")
    with pytest.raises(ValueError, match="image column is unclear"):
        load_noisy_dataset(datasets.Dataset.from_dict({"a": [1, 2], "label": [0, 1]}))
