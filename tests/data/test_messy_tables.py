"""Tables as people make them: their class names, their split columns, their encodings, and what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from jal_hf.data import load_noisy_dataset
from jal_hf.data.text import load_text_dataset
from tests.data.conftest import save_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for row in range(12):
        save_picture(tmp_path / "own/im" / f"{row}.png", row)
    return tmp_path / "own"


def written(folder: Path, labels: Sequence[str], name: str = "labels.csv", **columns: Sequence[str]) -> Path:
    """A table of the pictures under these labels, repeated, and columns beside them."""
    separator = "\t" if name.endswith(".tsv") else ","
    lines = [separator.join(["path", "label", *columns])]
    for row in range(12):
        others = [values[row % len(values)] for values in columns.values()]
        lines.append(separator.join([f"im/{row}.png", labels[row % len(labels)], *others]))
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def texts(folder: Path, labels: Sequence[str], name: str, **columns: Sequence[str]) -> Path:
    separator = "\t" if name.endswith(".tsv") else ","
    lines = [separator.join(["text", "label", *columns])]
    for row in range(12):
        others = [values[row % len(values)] for values in columns.values()]
        lines.append(separator.join([f"sentence {row}", labels[row % len(labels)], *others]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("noise", [None, "symmetric:0.3"])
def test_rows_held_back_from_paths_and_labels_alone_go_back_to_the_others(
    folder: Path, form: str, noise: str | None
) -> None:
    rows = pd.DataFrame({"path": [f"im/{row}.png" for row in range(12)], "label": ["x", "y"] * 6})
    table = folder / f"t.{form}"
    if form == "csv":
        rows.to_csv(table, index=False)
    elif form == "parquet":
        rows.to_parquet(table)
    else:
        rows.to_json(table, orient="records", lines=True)
    data = load_noisy_dataset(str(table), val_fraction=0.2, noise=noise)
    together = datasets.concatenate_datasets([data["train"], data["validation"]])
    assert sorted(together["index"]) == list(range(12))
    assert together[11]["image" if "image" in together.column_names else "path"].size == (16, 16)


def test_a_dataset_whose_only_own_column_was_replaced_is_cut_and_joined(folder: Path) -> None:
    table = load_noisy_dataset(str(written(folder, ["x", "y"])))["train"]
    changed = table.remove_columns(["label"]).add_column("label", ["x", "y"] * 6)
    data = load_noisy_dataset(changed, val_fraction=0.2)
    assert len(datasets.concatenate_datasets([data["train"], data["validation"]])) == 12


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["000", "001", "010"], ["000", "001", "010"]),
        (["0", "01", "1"], ["0", "01", "1"]),
        (["+1", "1", "2"], ["+1", "1", "2"]),
        (["1_0", "1", "2"], ["1", "1_0", "2"]),
        (["NA", "None", "null", "nan"], ["NA", "None", "nan", "null"]),
        (["TRUE", "FALSE"], ["False", "True"]),
        (["yes", "no"], ["no", "yes"]),
        (["0", "1", "2"], ["0", "1", "2"]),
        (["0.0", "1.0", "2.0"], ["0", "1", "2"]),
        (["1", "1.0", "2"], ["1", "1.0", "2"]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "tsv", "text", "text folder"])
def test_names_of_classes_are_kept_as_they_stand(
    folder: Path, tmp_path: Path, labels: list[str], names: list[str], kind: str
) -> None:
    if kind in ("csv", "tsv"):
        data = load_noisy_dataset(str(written(folder, labels, f"labels.{kind}")))
    else:
        table = texts(tmp_path / "texts", labels, "train.tsv")
        data = load_text_dataset(str(table if kind == "text" else table.parent))
    assert data.class_names == names
    assert len(data["train"]) == 12


def test_labels_of_all_tables_and_their_true_labels_are_of_one_kind(folder: Path) -> None:
    written(folder, ["007", "010", "021"], "train.csv", clean_label=["007", "010", "021"])
    written(folder, ["10", "21"], "test.csv", clean_label=["10", "21"])
    with pytest.raises(ValueError, match="labels that the training split has not: '10', '21'"):
        load_noisy_dataset(str(folder))
    written(folder, ["010", "021"], "test.csv", clean_label=["010"])
    data = load_noisy_dataset(str(folder))
    assert data["test"].features["label"].names == data["test"].features["clean_label"].names
    assert set(data["test"]["clean_label"]) == {1}


def test_an_asked_column_of_labels_is_read_as_text_too(folder: Path) -> None:
    table = written(folder, ["a"], "labels.csv", kind=["01", "02"])
    assert load_noisy_dataset(str(table), label_column="kind").class_names == ["01", "02"]


@pytest.mark.parametrize("labels", [["0", "1", ""], ["x", "y", ""]])
def test_an_empty_cell_is_still_no_label(folder: Path, labels: list[str]) -> None:
    table = written(folder, labels)
    with pytest.raises(ValueError, match=r"4 missing value\(s\)"):
        load_noisy_dataset(str(table))
    data = load_noisy_dataset(str(table), unlabelled="drop")
    assert (data.class_names, len(data["train"])) == (labels[:2], 8)


@pytest.mark.parametrize("column", ["split", "Subset", "fold"])
@pytest.mark.parametrize("kind", ["images", "texts", "frame", "stream"])
def test_rows_that_name_their_split_are_split_by_it(
    folder: Path, tmp_path: Path, column: str, kind: str
) -> None:
    places = {column: ["train", "train", "Test"]}
    if kind == "texts":
        data: Any = load_text_dataset(str(texts(tmp_path / "texts", ["x", "y"], "t.csv", **places)))
    elif kind == "frame":
        frame = pd.read_csv(written(folder, ["x", "y"], **places))
        frame["path"] = [str(folder / path) for path in frame["path"]]
        data = load_noisy_dataset(frame)
    else:
        data = load_noisy_dataset(str(written(folder, ["x", "y"], **places)), streaming=kind == "stream")
    counts = {name: sum(1 for _ in rows) for name, rows in data.items()}
    assert counts == {"train": 8, "test": 4}
    assert any(f"split by their column {column!r}: 8 train, 4 test" in warning for warning in data.warnings)


@pytest.mark.parametrize("cells", [["train", "held"], ["0", "1"], ["train", ""]])
def test_a_column_of_other_words_splits_nothing(folder: Path, cells: list[str]) -> None:
    data = load_noisy_dataset(str(written(folder, ["x", "y"], split=cells)))
    assert {name: len(rows) for name, rows in data.items()} == {"train": 12}


def test_rows_of_a_saved_validation_part_are_not_trained_on(folder: Path) -> None:
    table = written(folder, ["x", "y"], split=["train", "train", "val", "test"])
    data = load_noisy_dataset(str(table), own_validation=True)
    assert {name: len(rows) for name, rows in data.items()} == {"train": 6, "validation": 3, "test": 3}


@pytest.mark.parametrize("name", ["tab/absent.csv", "absent.PARQUET", "own/absent.jsonl", "a/absent.tsv"])
def test_a_table_that_is_not_there_is_said_to_be_no_file(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"There is no folder or file '{name}'"):
        load_noisy_dataset(name)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_a_row_that_is_no_utf8_is_named(folder: Path, name: str) -> None:
    table = written(folder, ["x", "y"], name)
    if name == "t.jsonl":
        table.write_text("".join(f'{{"path": "im/{row}.png", "label": "x"}}\n' for row in range(12)))
    lines = table.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"im/", b"im\xe9/")
    table.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=rf"Line 5 of '{name}' is no UTF-8: .*im\\xe9"):
        load_noisy_dataset(str(table))


def test_a_path_that_is_no_utf8_in_a_frame_is_named_by_row() -> None:
    frame = pd.DataFrame({"path": ["a.png", "b\udce9.png"], "label": ["x", "y"]}, dtype=object)
    with pytest.raises(ValueError, match=r"Row 1 of the DataFrame holds 'b\\udce9.png' in 'path'"):
        load_noisy_dataset(frame)


def test_a_transform_that_would_be_dropped_is_refused(folder: Path) -> None:
    rows = load_noisy_dataset(str(written(folder, ["x", "y"])))["train"]
    for given in (
        rows.with_transform(lambda batch: batch),
        {"train": rows.with_transform(lambda batch: batch)},
    ):
        with pytest.raises(ValueError, match=r"'train' have a transform .* Apply it with .map, or give"):
            load_noisy_dataset(given)
    rows.set_transform(lambda batch: batch)
    with pytest.raises(ValueError, match="transform"):
        load_text_dataset(rows)
    assert len(load_noisy_dataset(rows.with_format("numpy"))["train"]) == 12


@pytest.mark.parametrize(
    ("name", "mark"), [("rows.csv", ";"), ("rows.csv", "\t"), ("rows.csv", "|"), ("rows.tsv", ";")]
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_another_separator_is_named(tmp_path: Path, name: str, mark: str, is_folder: bool) -> None:
    """Such a table was one column, and its labels were said to be unclear."""
    lines = [f"sentence {row}, and more{mark}{'xy'[row % 2]}" for row in range(12)]
    own = tmp_path / "own"
    own.mkdir()
    (own / name).write_text("\n".join([f"text{mark}label", *lines]), encoding="utf-8-sig")
    place = str(own if is_folder else own / name)
    for load in (load_text_dataset, load_noisy_dataset):
        with pytest.raises(ValueError, match=r"columns of 'rows.[ct]sv' are separated by"):
            load(place)


def test_names_of_columns_may_hold_any_mark(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "text,label;kind\n" + "".join(f"a; b {row},x{row % 2}\n" for row in range(6))
    )
    assert len(load_text_dataset(str(tmp_path / "rows.csv"), label_column="label;kind")["train"]) == 6
