"""What a finished run's model is for on the command line: to classify files, and as a file for other programs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from jal_hf.cli.main import main
from tests.runs.helpers import class_folders

FLAGS = [
    "--image_size",
    "8",
    "--augment",
    "none",
    "--num_train_epochs",
    "6",
    "--per_device_train_batch_size",
    "16",
]
FLAGS += [
    "--dataloader_num_workers",
    "0",
    "--precision",
    "fp32",
    "--model",
    "jal_digits_cnn",
    "--learning_rate",
    "0.05",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("use")
    folder = class_folders(root / "pictures", rows=20, test=4)
    assert main(["train", "--dataset", str(folder), *FLAGS, "--output_dir", str(root / "run")]) == 0
    return folder, root / "run"


def test_predict_writes_a_table_of_files_folders_and_answers(run: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    assert main(["predict", str(run[1]), str(run[0] / "test"), "--out", str(table)]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert all(Path(row["file"]).parent.name == row["label"] for row in rows)
    assert all(0 < float(row["score"]) <= 1 for row in rows)


def test_predict_prints_a_line_a_file(run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    image = run[0] / "test" / "red" / "000.png"
    assert main(["predict", str(run[1]), str(image)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split("\t")[:2] == [str(image), "red"]


@pytest.mark.parametrize(("kind", "name"), [("torchscript", "model.pt"), ("onnx", "model.onnx")])
def test_export_writes_a_file_that_gives_the_models_logits(
    run: tuple[Path, Path], kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
    assert main(["export", str(run[1]), "--format", kind]) == 0
    assert "differ from the model's by at most" in capsys.readouterr().out
    assert (run[1] / name).stat().st_size > 1000
    if kind == "torchscript":
        from transformers import AutoModelForImageClassification

        images = torch.randn(3, 3, 8, 8)
        expected = AutoModelForImageClassification.from_pretrained(run[1]).eval()(images).logits
        assert torch.allclose(torch.jit.load(str(run[1] / name))(images), expected, atol=1e-4)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predict", "RUN", "absent.png"], "absent.png"),
        (["predict", "EMPTY", "absent.png"], "no model"),
        (["predict", "RUN", "EMPTY"], "no images"),
        (["predict", "RUN", "BAD"], "bad.png"),
        (["export", "EMPTY"], "no finished run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands_refuse_what_is_not_there(
    run: tuple[Path, Path],
    words: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no image")
    places = {"RUN": run[1], "EMPTY": tmp_path / "EMPTY", "BAD": tmp_path / "bad.png"}
    assert main([str(places.get(word, word)) for word in words]) == 2
    assert sentence in capsys.readouterr().err
