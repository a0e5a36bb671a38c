"""The study of fine-tuning: its folders, its cells, and that its published table is that of its published records."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import datasets
import numpy as np
import pytest
from PIL import Image

from tests.runs.test_finetune import pretrained

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COLOURS = {"blue": (40, 40, 200), "red": (200, 40, 40)}


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_finetune", EXAMPLES / "study_finetune.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def coloured() -> datasets.DatasetDict:
    draw = np.random.default_rng(0)
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=sorted(COLOURS))}
    )
    splits = {}
    for split, rows in (("train", 60), ("test", 8)):
        labels = [row % 2 for row in range(rows)]
        images = [
            Image.fromarray(
                np.uint8(np.array(COLOURS[sorted(COLOURS)[label]]) + draw.integers(-30, 31, (16, 16, 3)))
            )
            for label in labels
        ]
        splits[split] = datasets.Dataset.from_dict({"img": images, "label": labels}, features=features)
    return datasets.DatasetDict(splits)


def test_folders_hold_noisy_training_labels_and_clean_test_labels(study: ModuleType, tmp_path: Path) -> None:
    folder = study.make_folder(coloured(), tmp_path / "pictures", 40, 6, "symmetric:0.25", 0)
    truth = json.loads((folder / "truth.json").read_text())
    placed = {path.name: path.parent.name for path in (folder / "train").rglob("*.png")}
    assert len(placed) == len(truth["labels"]) == 40
    assert sum(placed[name] != label for name, label in truth["labels"].items()) == 10
    assert truth["wrong"] == 0.25
    for path in (folder / "test").rglob("*.png"):
        assert np.asarray(Image.open(path)).mean((0, 1)).argmax() == {"blue": 2, "red": 0}[path.parent.name]


def test_sentences_become_tables(study: ModuleType, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.txt"
    ratings.write_text("".join(f"{row}\t{(-1) ** row * 2.5}\tsentence {row}\n" for row in range(40)))
    folder = study.make_tables(ratings, tmp_path / "sentences", 20, 10, "symmetric:0.3", 0)
    rows = datasets.load_dataset("csv", data_files=str(folder / "train.csv"))["train"]
    truth = json.loads((folder / "truth.json").read_text())["labels"]
    is_even = [int(text.split()[1]) % 2 == 0 for text in rows["text"]]
    assert [truth[str(row)] == "positive" for row in range(20)] == is_even
    assert sum(label != truth[str(row)] for row, label in enumerate(rows["label"])) == 6


@pytest.mark.slow
def test_a_study_trains_its_cells_once_and_on_the_cleaned_folder_too(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cleanlab")
    coloured().save_to_disk(str(tmp_path / "data"))
    words = ["--data", str(tmp_path / "data"), "--rows", "60", "--seeds", "0", "--noise", "symmetric:0.2"]
    words += [
        "--out",
        str(tmp_path / "out"),
        "--cleaned",
        "drop",
        "--model",
        "resnet10t",
        "--image_size",
        "32",
    ]
    words += ["--weights", str(pretrained(tmp_path / "w.safetensors")), "--num_train_epochs", "1"]
    words += ["--precision", "fp32", "--dataloader_num_workers", "0", "--disable_tqdm", "true"]
    table = study.main([*words, "--publish", str(tmp_path / "published")])
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| data-60-symmetric-0.2", "| data-60-symmetric-0.2-drop"
    ]  # fmt: skip
    monkeypatch.setattr(study, "finetune", None)
    assert study.main(words) == table
    assert study.table(tmp_path / "published") == table


def test_the_published_table_is_that_of_the_published_records(study: ModuleType) -> None:
    if not (EXAMPLES / "docs" / "finetuning_records").is_dir():
        pytest.skip("examples/docs is not part of this installation")
    text = (EXAMPLES / "docs" / "finetuning.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- table -->\n")[2].partition("<!-- /table -->")[0]
    assert shown == study.table(EXAMPLES / "docs" / "finetuning_records")
    assert shown.count("\n") > 3
