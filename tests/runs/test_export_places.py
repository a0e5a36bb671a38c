"""Where an export puts its files: in its own folder, in the form that was read, as copies that may be edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

import jal_hf
from jal_hf.runs.audit.cleaning import Cleaning
from jal_hf.runs.audit.export import export_cleaned
from tests.runs.helpers import COLOURS, class_folders, save_colour


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAL_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def table_of(folder: Path, names: list[str], rows: int = 6) -> Path:
    """`labels.csv` of pictures in `im/`, whose classes have these names."""
    lines = ["path,label"]
    for row in range(rows):
        save_colour(folder / "im" / f"{row}.png", "red", row)
        lines.append(f'im/{row}.png,"{names[row % len(names)]}"')
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def export(data: Any, out: Path) -> str:
    return export_cleaned(data, data["train"], Cleaning(np.array(data["train"]["label"]), None, ()), out)


def all_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "cache" not in path.parts and "datasets" not in path.parts}


@pytest.mark.parametrize("names", [["n/a", "AC/DC", "x"], ["..", "../..", "x"], ["a/", ".", "x"]])
def test_classes_of_a_table_with_another_beside_it_lead_nowhere_else(
    tmp_path: Path, names: list[str]
) -> None:
    source = table_of(tmp_path / "source", names)
    (source / "submission.csv").write_text("id,guess\n1,2\n")
    data = jal_hf.load_noisy_dataset(str(source))
    before = all_below(tmp_path)
    out = tmp_path / "deep" / "er" / "out"
    assert export(data, out) == "table"
    assert all(path.is_relative_to(tmp_path / "deep") for path in all_below(tmp_path) - before)
    after = jal_hf.load_noisy_dataset(str(out))
    assert after.class_names == data.class_names == sorted(names)
    assert after["train"]["label"] == data["train"]["label"]


def test_a_class_of_a_table_that_is_an_absolute_path_writes_nothing_there(tmp_path: Path) -> None:
    source = table_of(tmp_path / "source", [str(tmp_path / "elsewhere"), "x"])
    data = jal_hf.load_noisy_dataset(str(source))
    assert export(data, tmp_path / "out") == "table"
    assert not (tmp_path / "elsewhere").exists()


def test_a_path_of_a_table_that_goes_up_again_stays_in_the_export(tmp_path: Path) -> None:
    source, out = table_of(tmp_path / "source", ["x", "y"]), tmp_path / "deep" / "out"
    save_colour(tmp_path / "above.png", "red", 50)
    with (source / "labels.csv").open("a") as file:
        file.write(f"{source}/im/../../above.png,x\n")
    before = all_below(tmp_path)
    export(jal_hf.load_noisy_dataset(str(source)), out)
    assert all(path.is_relative_to(tmp_path / "deep") for path in all_below(tmp_path) - before)
    assert len(jal_hf.load_noisy_dataset(str(out))["train"]) == 7


def test_notes_beside_split_folders_leave_an_export_class_folders(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=3, test=1)
    (folder / "notes.csv").write_text("day,note\n1,sunny\n")
    assert export(jal_hf.load_noisy_dataset(str(folder)), tmp_path / "out") == "class folders"
    assert jal_hf.load_noisy_dataset(str(tmp_path / "out")).class_names == list(COLOURS)


@pytest.mark.parametrize("form", ["table", "class folders"])
def test_an_exported_image_that_is_edited_leaves_the_original_alone(form: str, tmp_path: Path) -> None:
    if form == "table":
        source = table_of(tmp_path / "source", ["x", "y"])
    else:
        source = class_folders(tmp_path / "source", rows=2)
    originals = {path: path.read_bytes() for path in source.rglob("*.png")}
    assert export(jal_hf.load_noisy_dataset(str(source)), tmp_path / "out") == form
    for path in (tmp_path / "out").rglob("*.png"):
        with path.open("r+b") as file:
            file.write(b"changed")
    assert {path: path.read_bytes() for path in originals} == originals


def test_rows_held_back_from_a_table_of_paths_and_labels_alone_are_put_back_and_exported(
    tmp_path: Path,
) -> None:
    source = table_of(tmp_path / "source", ["x", "y"], rows=20)
    data = jal_hf.load_noisy_dataset(str(source / "labels.csv"), val_fraction=0.2)
    rows = datasets.concatenate_datasets([data["train"], data["validation"]])
    assert sorted(rows["index"]) == list(range(20))
    export_cleaned(data, rows, Cleaning(np.array(rows["label"]), None, ()), tmp_path / "out")
    assert len(jal_hf.load_noisy_dataset(str(tmp_path / "out"))["train"]) == 20
