"""Class folders as people have them: our own runs among the classes, odd names, loose images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jal_hf.data import load_noisy_dataset
from jal_hf.data.readers import run_folders
from jal_hf.ground.record import RECORD
from jal_hf.runs.audit.cleaning import Cleaning
from jal_hf.runs.grid.ledger import GRID
from jal_hf.runs.lock import LOCK
from jal_hf.runs.marker import MARKER, mark_folder
from jal_hf.runs.tune.tune import DATABASE, TRIAL
from tests.data.conftest import save_picture


def one_run(folder: Path, name: str = MARKER) -> None:
    save_picture(folder / "plots/curves.png", 1)
    (folder / name).write_text("{}")


def put_runs(folder: Path, kind: str) -> str:
    """Something of ours in a folder of classes; returns what the warning calls it."""
    if kind == "grid":
        one_run(folder / "runs/compare-x/ce-seed0")
        save_picture(folder / "runs/compare-x/plots/bars.png", 2)
        (folder / "runs/compare-x" / GRID).write_text("{}")
        return "runs"
    if kind == "finetuning":
        mark_folder(folder / "runs/finetune-x")
        save_picture(folder / "runs/finetune-x/finetune/page.png", 3)
        one_run(folder / "runs/finetune-x/cross_entropy")
        return "runs"
    if kind == "search":
        save_picture(folder / "tuned/plots/study.png", 3)
        (folder / "tuned" / DATABASE).write_text("")
        (folder / "tuned" / TRIAL).write_text("")
        return "tuned"
    if kind == "first run":
        (folder / "runs/mine").mkdir(parents=True)
        (folder / "runs/mine" / LOCK).write_text("")
        return "runs"
    if kind in ("export", "export of texts"):
        example = "file" if kind == "export" else "text"
        save_picture(folder / "clean/train/cat/0.png", 4)
        Cleaning(None, None, ()).write_changes(folder / "clean/changes.csv", example)  # type: ignore[arg-type]
        return "clean"
    if kind == "inside a class":
        one_run(folder / "cat/runs/mine")
        return "cat/runs"
    one_run(folder / "runs/mine", RECORD if kind == "older run" else MARKER)
    return "runs"


KINDS = [
    "run",
    "older run",
    "first run",
    "grid",
    "finetuning",
    "search",
    "export",
    "export of texts",
    "inside a class",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("splits", [True, False])
def test_runs_in_the_folder_of_a_dataset_are_no_class(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, splits: bool
) -> None:
    folder = image_folder / "train"
    monkeypatch.chdir(image_folder if splits else folder)
    before = load_noisy_dataset(".")
    name = put_runs(folder, kind)
    after = load_noisy_dataset(".")
    assert after.class_names == before.class_names == ["cat", "dog"]
    assert (after.fingerprint, len(after["train"])) == (before.fingerprint, 12)
    (warning,) = [sentence for sentence in after.warnings if sentence not in before.warnings]
    assert warning.startswith("1 folder(s) in 'train' hold runs")
    assert warning.endswith(f": '{name}'.")


def test_runs_beside_the_splits_and_in_the_root_itself_change_nothing(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder)
    before = load_noisy_dataset(".")
    one_run(image_folder / "runs/mine")
    assert load_noisy_dataset(".").warnings == before.warnings
    flat = image_folder / "train"
    one_run(flat)
    assert load_noisy_dataset(str(flat)).class_names == ["cat", "dog"]


def test_a_class_that_has_a_run_beside_its_images_or_a_strange_file_stays(image_folder: Path) -> None:
    (image_folder / "train/cat/grid.json").write_text("{}")
    (image_folder / "train/cat/changes.csv").write_text("my,notes\n")
    one_run(image_folder / "train/dog/mine")
    save_picture(image_folder / "train/fox/deep/er/0.png", 5)
    one_run(image_folder / "train/fox/mine")
    assert load_noisy_dataset(str(image_folder)).class_names == ["cat", "dog", "fox"]


def test_names_of_files_of_runs_are_those_that_runs_give() -> None:
    assert {MARKER, LOCK, TRIAL, RECORD} == {*run_folders._OF_RUN}
    assert {GRID, DATABASE} == {*run_folders._OF_GRID}


def test_warnings_about_the_working_folder_have_its_name(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder / "train")
    (image_folder / "train/cat/notes.txt").write_text("x")
    assert any(
        "1 file(s) in 'train' are no images" in warning for warning in load_noisy_dataset(".").warnings
    )


def test_images_in_no_class_folder_are_counted(image_folder: Path) -> None:
    for row in range(3):
        save_picture(image_folder / f"train/loose{row}.png", row)
    save_picture(image_folder / "train/.hidden/0.png", 4)
    save_picture(image_folder / "train/cat/._0.png", 5)
    (image_folder / "train/.empty").mkdir()
    data = load_noisy_dataset(str(image_folder))
    assert (data.class_names, len(data["train"])) == (["cat", "dog"], 12)
    found = [sentence for sentence in data.warnings if "'train'" in sentence]
    assert (
        "1 file(s) in 'train' have names that begin with a dot, such as '._0.png', and were left out."
        in found
    )
    assert any(sentence.startswith("3 image(s) lie directly in 'train'") for sentence in found)
    assert any(sentence.startswith("1 image(s) in '.hidden' in 'train'") for sentence in found)
    assert not any(".empty" in sentence for sentence in found)


def test_names_that_are_no_utf8_are_left_out_and_named(image_folder: Path) -> None:
    save_picture(image_folder / "train/cat" / "caf\udce9.png", 1)
    save_picture(image_folder / "train" / "no\udce9l" / "0.png", 2)
    data = load_noisy_dataset(str(image_folder))
    assert (data.class_names, len(data["train"])) == (["cat", "dog"], 12)
    sentence = next(warning for warning in data.warnings if "UTF-8" in warning)
    assert sentence.startswith("2 name(s) in 'train' are no UTF-8 and were left out:")
    assert r"'no\udce9l'" in sentence
    assert r"'cat/caf\udce9.png'" in sentence
    sentence.encode()


def test_a_folder_whose_own_path_is_no_utf8_is_refused(image_folder: Path) -> None:
    odd = image_folder.with_name("im\udce9")
    image_folder.rename(odd)
    with pytest.raises(ValueError, match=r"'.*im\\udce9' is no UTF-8"):
        load_noisy_dataset(str(odd))
    table = odd / "labels.csv"
    table.write_text("path,label\n" + "".join(f"train/cat/{row}.png,x\n" for row in range(6)))
    with pytest.raises(ValueError, match=r"Row 0 of 'labels.csv' names '.*im\\udce9/train/cat/0.png'"):
        load_noisy_dataset(str(table))


def test_names_are_left_out_or_refused_where_the_locale_has_ascii_alone(image_folder: Path) -> None:
    save_picture(image_folder / "train/cat/café.png", 1)
    shutil.copytree(image_folder / "train/cat", image_folder / "own/im")
    (image_folder / "own/t.csv").write_text("path,label\nim/0.png,x\nim/café.png,y\n", encoding="utf-8")
    code = (
        "import json, sys, jal_hf\n"
        "data = jal_hf.load_noisy_dataset(sys.argv[1])\n"
        "found = [len(data['train']), *data.warnings]\n"
        "try:\n    jal_hf.load_noisy_dataset(sys.argv[1] + '/own/t.csv')\n"
        "except ValueError as error:\n    found.append(str(error))\n"
        "print(json.dumps(found))\n"
    )
    surroundings = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-c", code, str(image_folder)]
    done = subprocess.run(words, capture_output=True, text=True, env=surroundings, check=True)
    rows, *sentences = json.loads(done.stdout.splitlines()[-1])
    assert rows == 12
    assert any(
        r"'cat/caf\udcc3\udca9.png'" in sentence and "PYTHONUTF8=1" in sentence for sentence in sentences
    )
    assert "Row 1 of 't.csv' names" in sentences[-1]
    assert "PYTHONUTF8=1" in sentences[-1]
