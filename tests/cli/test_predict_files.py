"""What `jal-hf predict` takes and writes: folders with leftovers, damaged images, odd names, tables and lines."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizer,
)

from jal_hf.cli.main import main
from jal_hf.runs.prediction import predict_images
from tests.runs.helpers import class_folders, save_colour

FLAGS = ["--image_size", "8", "--augment", "none", "--num_train_epochs", "1", "--precision", "fp32"]
FLAGS += ["--per_device_train_batch_size", "12", "--model", "jal_digits_cnn", "--dataloader_num_workers", "0"]
FLAGS += ["--eval_strategy", "no", "--save_strategy", "no"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    folder = class_folders(root / "pictures", rows=4)
    assert main(["train", "--dataset", str(folder), *FLAGS, "--output_dir", str(root / "run")]) == 0
    return root / "run"


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of texts as anybody saves one."""
    root = tmp_path_factory.mktemp("texts")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine", "dull", "film", "table", "csv", "."]
    (root / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(root / "vocab.txt")).save_pretrained(root / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    names = {0: "\x1b[31mbad", 1: "good"}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=16, id2label=names, **sizes)
    BertForSequenceClassification(config).save_pretrained(root / "model")
    return root / "model"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_leftovers_of_programs_and_runs_are_not_classified(run: Path, tmp_path: Path) -> None:
    for row in range(3):
        save_colour(tmp_path / "in" / f"{row}.png", "red", row)
    for name in ("._0.png", ".ipynb_checkpoints/0.png", "@eaDir/0.png", "__MACOSX/0.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\0\5\x16\7")
    save_colour(tmp_path / "in/runs/mine/plots/curves.png", "red", 9)
    (tmp_path / "in/runs/mine/.jal_hf.json").write_text("{}")
    assert main(["predict", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "out.csv")]) == 0
    assert [row["file"] for row in read(tmp_path / "out.csv")] == [
        str(tmp_path / f"in/{n}.png") for n in range(3)
    ]


def test_a_damaged_image_among_others_has_an_empty_answer(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for row in range(4):
        save_colour(tmp_path / "in" / f"{row}.png", "red", row)
    whole = (tmp_path / "in/1.png").read_bytes()
    (tmp_path / "in/1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/3.png").write_bytes(b"no image")
    words = ["predict", str(run), str(tmp_path / "in"), "--batch_size", "2"]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["label"] is None for answer in answers] == [False, True, False, True]
    assert [answer["score"] is None for answer in answers] == [False, True, False, True]
    assert "1.png" in caplog.text
    assert "3.png" in caplog.text
    assert main([*words, "--out", str(tmp_path / "out.csv")]) == 0
    found = read(tmp_path / "out.csv")
    assert [(row["label"] == "", row["score"] == "") for row in found] == [(False, False), (True, True)] * 2
    alone = [main(["predict", str(run), str(tmp_path / "in" / f"{row}.png"), "--json"]) for row in (0, 2)]
    assert alone == [0, 0]
    assert main(words) == 0
    for row in (0, 2):
        (tmp_path / "in" / f"{row}.png").unlink()
    assert main([*words, "--out", str(tmp_path / "none.csv")]) == 2
    assert not (tmp_path / "none.csv").exists()


def test_python_has_an_empty_answer_for_a_damaged_image_too(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for row in range(2):
        save_colour(tmp_path / f"{row}.png", "red", row)
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "1.png") as opened:
        answers = predict_images(
            run, [tmp_path / "0.png", tmp_path / "1.png", opened, np.zeros((8, 8), np.uint8)]
        )
    assert [answer["label"] is None for answer in answers] == [False, True, True, False]
    assert [answer["score"] is None for answer in answers] == [False, True, True, False]
    assert "1.png" in caplog.text
    assert "image 2" in caplog.text
    with pytest.raises(ValueError, match=r"1\.png"):
        predict_images(run, [str(tmp_path / "1.png")])
    with pytest.raises(FileNotFoundError, match="absent"):
        predict_images(run, [tmp_path / "0.png", tmp_path / "absent.png"])
    assert predict_images(run, []) == []


def test_names_are_whole_in_the_table_and_escaped_on_the_screen(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a\x1b[31mb.png", "line\nend.png", "return\rend.png", "caf\udce9.png", 'quote",.png']
    for name in names:
        save_colour(tmp_path / "in" / name, "red", 0)
    assert main(["predict", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "out.csv")]) == 0
    files = [Path(row["file"]) for row in read(tmp_path / "out.csv")]
    assert {path.name for path in files} == set(names)
    assert all(map(os.path.exists, files))
    capsys.readouterr()
    assert main(["predict", str(run), str(tmp_path / "in")]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"a\x1b[31mb.png" in shown
    assert len(shown.splitlines()) == len(names)


def test_labels_and_texts_are_whole_in_the_table(text_run: Path, tmp_path: Path) -> None:
    texts = [f"film {row}\x1b[2J\u2028fine" for row in range(3)]
    assert main(["predict", str(text_run), *texts, "--out", str(tmp_path / "out.csv")]) == 0
    found = read(tmp_path / "out.csv")
    assert [row["text"] for row in found] == texts
    assert {row["label"] for row in found} <= {"\x1b[31mbad", "good"}


def test_only_line_ends_part_texts_and_a_mark_of_the_encoding_is_none_of_them(
    text_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["fine film", "a\u2028b", "c\x0cd\x1ce\x85f", "last"]
    place = tmp_path / "more.txt"
    place.write_bytes(f"\ufeff{texts[0]}\r\n{texts[1]}\n\n{texts[2]}\r{texts[3]}".encode())
    capsys.readouterr()
    assert main(["predict", str(text_run), str(place), "--json"]) == 0
    assert [answer["text"] for answer in json.loads(capsys.readouterr().out)] == texts


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_the_texts_of_a_table_are_classified(
    text_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: str,
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.chdir(tmp_path)
    rows = [("fine film", "good"), ("", "bad"), ("None", "bad")]
    if ending == "jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    else:
        separator = {"csv": ",", "tsv": "\t"}[ending]
        lines = [separator.join(row) for row in [("text", "label"), *rows]]
    Path(f"table.{ending}").write_text("\n".join(lines) + "\n")
    capsys.readouterr()
    assert main(["predict", str(text_run), f"table.{ending}", "absent.csv", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["text"] for answer in answers] == ["fine film", "", "None", "absent.csv"]
    assert [answer["label"] is None for answer in answers] == [False, True, False, False]


def test_a_file_of_another_kind_is_no_text(
    text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.md").write_text("fine")
    Path("latin.txt").write_bytes(b"caf\xe9")
    assert main(["predict", str(text_run), "notes.md"]) == 2
    assert "'notes.md' is a file" in capsys.readouterr().err
    assert main(["predict", str(text_run), "latin.txt"]) == 2
    assert "'latin.txt' is no UTF-8" in capsys.readouterr().err


def test_a_model_of_tokens_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was taken for one of images that lacks an image processor."""
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForTokenClassification(BertConfig(vocab_size=8, **small)).save_pretrained(tmp_path / "tagger")
    assert main(["predict", str(tmp_path / "tagger"), "a text"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is for token-classification" in said
    assert "transformers.pipeline('token-classification'" in said
