"""What is not there is said before any data is read: on large data, minutes earlier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jal_hf
from jal_hf.cli.main import main

NETWORK = "There is no folder './no' with a saved model"
WEIGHTS = "There is no weights file 'no.pth'"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train digits --weights no.pth", WEIGHTS),
        ("train digits --model ./no", NETWORK),
        ("train digits --model local-dir:no", "'no' holds no model"),
        ("train digits --model resnet180", "No network is called"),
        ("train digits --noise labels:no.npy", "The label file 'no.npy' does not exist"),
        ("train digits --noise matrix:no.npy", "The matrix file 'no.npy' does not exist"),
        ("finetune digits --weights no.pth", WEIGHTS),
        ("finetune digits --model ./no", NETWORK),
        ("finetune reviews.csv --task text --model ./no", "there is no such folder"),
        ("tune digits --loss ce --weights no.pth", WEIGHTS),
    ],
)
def test_nothing_is_read_before_a_refusal(
    line: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("data was read")

    for place in ("loading", "text"):
        monkeypatch.setattr(f"jal_hf.data.{place}.read_source", read)
    monkeypatch.chdir(tmp_path)
    assert main([*line.split(), "--output_dir", "run"]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"), [("--weights no.pth", WEIGHTS), ("--noises matrix:no.npy", "The matrix file")]
)
def test_a_grid_is_refused_as_a_whole(
    words: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each cell once failed by itself, and the folder kept the grid that cannot be."""
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "digits", "--losses", "ce", *words.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_are_looked_for_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was loaded")

    network = jal_hf.create_model("jal_digits_cnn", num_labels=2, image_size=8, in_chans=1)
    jal_hf.models.export_model(network, tmp_path)
    monkeypatch.setattr("jal_hf.runs.prediction.load_classifier", load)
    assert main(["predict", str(tmp_path), "no.png"]) == 2
    assert "There is no image file 'no.png'" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"There is no image file 'no.png'"):
        jal_hf.runs.prediction.predict_images(tmp_path, ["no.png"])
