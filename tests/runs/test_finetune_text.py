"""`jal-hf finetune --task text`: labelled sentences, a transformers encoder, the same three models compared."""

from __future__ import annotations

import csv
import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from jal_hf.analysis.report_page import read_report
from jal_hf.cli.audit import _left_out
from jal_hf.cli.main import main
from jal_hf.data.columns import find_image_column
from jal_hf.data.text import equal_texts, load_text_dataset
from jal_hf.ground.record import RunRecord
from jal_hf.hub.files import run_files
from jal_hf.hub.model_card import render_model_card
from jal_hf.runs.audit.audit import Audit, audit_run
from jal_hf.runs.audit.cleaning import Cleaning
from jal_hf.runs.audit.export import export_cleaned
from jal_hf.runs.audit.text_data import TextRunData
from jal_hf.runs.finetune.candidates import PLAIN, PROBE, ROBUST
from jal_hf.runs.finetune.comparison import refuse_ignored_labels
from jal_hf.runs.finetune.finetune import finetune
from jal_hf.runs.finetune.settings import finetune_config
from jal_hf.runs.finetune.text import _weights, check_encoder, length_line
from jal_hf.runs.texts import Texts, fitting_tokenizer, predict_texts, text_data, text_logits
from jal_hf.training import RobustTrainer

GOOD, BAD = ["fine", "great", "lovely", "superb"], ["awful", "dull", "poor", "stale"]
REST = ["the", "film", "was", "and", "very", "plot", "music"]


def write_table(path: Path, rows: int, seed: int, wrong: int = 0) -> None:
    draw = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars", "label"])
        for row in range(rows):
            kind = row % 2
            words = [*draw.choice(REST, 4), *draw.choice([GOOD, BAD][kind], 2)]
            label = ["good", "bad"][kind ^ (row < wrong)]
            writer.writerow([" ".join(words) + f" {row}", row % 5, label])


def finetune_words(root: Path, run: Path) -> list[str]:
    words = ["finetune", str(root / "reviews"), "--task", "text", "--model", str(root / "encoder")]
    words += [
        "--max_length",
        "24",
        "--precision",
        "fp32",
        "--num_train_epochs",
        "2",
        "--learning_rate",
        "1e-3",
    ]
    return [*words, "--dataloader_num_workers", "0", "--disable_tqdm", "true", "--output_dir", str(run)]


def make_reviews(root: Path) -> None:
    """ROOT/reviews, tables of which 12 of 80 training labels are wrong, and ROOT/encoder."""
    (root / "reviews").mkdir()
    write_table(root / "reviews" / "train.csv", 80, 0, wrong=12)
    write_table(root / "reviews" / "test.csv", 20, 1)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *REST]
    model = root / "encoder"
    model.mkdir()
    (model / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(model / "vocab.txt")).save_pretrained(model)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertForSequenceClassification(
        BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **small)
    ).save_pretrained(model)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("text")
    make_reviews(root)
    assert main(finetune_words(root, root / "run")) == 0
    return root, root / "run"


def test_what_is_pushed_of_a_run_on_text_classifies_texts(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    """A repository without the tokenizer's files once answered the card's own lines with an error."""
    for name, path in run_files(tuned[1]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / name)
    text = " ".join(GOOD)
    there, here = (pipeline("text-classification", str(folder))(text) for folder in (tmp_path, tuned[1]))
    assert there == here


def test_three_models_are_compared_on_sentences(tuned: tuple[Path, Path]) -> None:
    record = RunRecord.read(tuned[1])
    found = {row["name"]: row for row in record.finetune["candidates"]}
    assert set(found) == {ROBUST, PLAIN, PROBE}
    assert all(row["test_accuracy"] is not None for row in found.values())
    assert record.finetune["judgement"]["noise_rate"] == pytest.approx(0.15, abs=0.1)
    assert record.noise["spec"] == "unknown"
    assert record.model["task"] == "text-classification"
    card = (tuned[1] / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "A text classifier for 2 classes" in card
    assert 'pipeline("text-classification"' in card
    assert str(tuned[0]) not in card
    assert "resnet" not in card
    assert not [text for text in record.protocol["deviations"] if "freeze" not in text]


@pytest.mark.parametrize("name", ["suspects.csv", "tokenizer.json"])
def test_files_of_others_are_left_alone(
    tuned: tuple[Path, Path], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("MINE")
    assert not (tuned[1] / "settings.json").exists()  # where somebody's own would be written over
    assert main(finetune_words(tuned[0], tmp_path)) == 2
    assert f"{name}, and no run of jal_hf was begun there" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "MINE")]


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_run_on_text_says_that_it_is_not_exported(
    tuned: tuple[Path, Path], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tuned[1]), "--format", form]) == 2
    assert "is a run on text" in capsys.readouterr().err


def test_suspect_sentences_are_listed_the_surest_first(tuned: tuple[Path, Path]) -> None:
    with (tuned[1] / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert np.mean([int(row["row"]) < 12 for row in rows]) > 0.7
    assert [float(row["p_given"]) for row in rows] == sorted(float(row["p_given"]) for row in rows)
    assert all(row["given"] != row["suggested"] for row in rows)


def test_the_folder_is_a_pipeline(tuned: tuple[Path, Path]) -> None:
    answer: Any = pipeline("text-classification", model=str(tuned[1]))("the film was superb and lovely")
    assert answer[0]["label"] in ("good", "bad")


def test_texts_are_audited_as_images_are(
    tuned: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(tuned[1])]) == 0
    assert "judged by a linear probe" in " ".join(capsys.readouterr().out.split())
    table = pq.read_table(tuned[1] / "audit" / "label_issues.parquet").to_pylist()
    assert len(table) == RunRecord.read(tuned[1]).finetune["rows"]
    assert table[0]["given_class"] != table[0]["suggested_class"]
    assert any(word in table[0]["text"] for word in GOOD + BAD)
    page = read_report(tuned[1] / "audit" / "report.html")
    assert page["files"][0] == table[0]["text"]
    assert not page["thumbnails"]
    assert not page["has_pictures"]


def test_audit_of_data_that_numbers_the_classes_otherwise_is_refused(tuned: tuple[Path, Path]) -> None:
    """Every label once looked wrong: a trainer's model may have another order than the sorted names of a table."""
    rows = load_text_dataset(str(tuned[0] / "reviews"))["train"]
    turned = rows.cast_column("label", datasets.ClassLabel(names=rows.features["label"].names[::-1]))
    with pytest.raises(
        ValueError, match="another order than the run's model: 'good', 'bad' for 'bad', 'good'"
    ):
        audit_run(tuned[1], dataset=datasets.DatasetDict(train=turned))


@pytest.mark.parametrize("how", ["drop", "relabel", "weights"])
def test_cleaned_texts_are_a_table_that_trains(tuned: tuple[Path, Path], how: str, tmp_path: Path) -> None:
    assert main(["audit", str(tuned[1]), "--export", str(tmp_path / "clean"), f"--{how}"]) == 0
    before = load_text_dataset(str(tuned[0] / "reviews"))
    after = load_text_dataset(str(tmp_path / "clean"))
    assert after["test"]["text"] == before["test"]["text"]
    clean = {text: 1 - int(text.split()[-1]) % 2 for text in before["train"]["text"]}  # even rows are good
    kept = dict(zip(after["train"]["text"], after["train"]["label"], strict=True))
    names = after.class_names
    wrong = [text for text, label in kept.items() if names[label] != ["bad", "good"][clean[text]]]
    if how == "weights":
        weights = dict(zip(after["train"]["text"], after["train"]["sample_weight"], strict=True))
        assert len(kept) == 80
        others = [weights[text] for text in kept if text not in wrong]
        assert np.mean([weights[text] for text in wrong]) < 0.5 * np.mean(others)
    else:
        assert 60 <= len(kept) <= 80
        assert len(wrong) <= 4
    with (tmp_path / "clean" / "changes.csv").open(newline="") as file:
        changed = list(csv.DictReader(file))
    assert "file" not in changed[0]
    assert {row["text"] for row in changed} <= {*before["train"]["text"]}


def test_one_long_text_takes_no_more_memory_than_it_has_letters() -> None:
    """Equal texts were once found in an array in which each was as long as the longest."""
    texts = [f"review {row // 2}" for row in range(1000)]
    texts[0] = texts[-1] = "long " * 20_000
    rows = datasets.Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(1000)]})
    tracemalloc.start()
    groups, contradicting = equal_texts(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert groups[0] == groups[-1] != -1
    assert groups[1] == groups[-2] == -1
    assert (groups[2::2][:-1] == groups[3::2][:-1]).all()
    assert contradicting == 1000 - 2


def test_cleaned_texts_keep_line_breaks_and_the_other_columns(tmp_path: Path) -> None:
    texts = [f"a\rline {row}\r\nand\nmore" for row in range(6)]
    rows = {"id": list(range(6)), "text": texts, "title": ["t"] * 6, "label": ["1", "2"] * 3}
    data = load_text_dataset(datasets.DatasetDict(train=datasets.Dataset.from_dict(rows)))
    labels = np.array(data["train"]["label"])
    assert export_cleaned(data, data["train"], Cleaning(labels, None, ()), tmp_path / "out") == "table"
    after = load_text_dataset(str(tmp_path / "out"))
    assert after["train"]["text"] == texts
    assert after["train"]["id"] == list(range(6))
    assert after.class_names == ["1", "2"]


@pytest.mark.parametrize("unlabelled", ["error", "drop"])
def test_cleaned_texts_keep_an_index_of_the_tables_own(unlabelled: str, tmp_path: Path) -> None:
    numbers = [900, 900, 7, 5, 3, 1]
    rows = {
        "index": numbers,
        "text": [f"a {row}" for row in range(6)],
        "label": ["x", "y", "x", "y", "x", "y"],
    }
    if unlabelled == "drop":
        rows["label"] = ["", *cast("list[str]", rows["label"][1:])]
    given = datasets.Dataset.from_dict(rows)
    data = load_text_dataset(datasets.DatasetDict(train=given, test=given), unlabelled=unlabelled)
    first = 1 if unlabelled == "drop" else 0
    assert data["train"]["index"][:] == list(range(first, 6))
    cleaning = Cleaning(np.array(data["train"]["label"]), None, ())
    export_cleaned(data, data["train"], cleaning, tmp_path / "out")
    found = {name: pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("train", "test")}
    assert found["train"]["index"].to_pylist() == found["test"]["index"].to_pylist() == numbers[first:]
    assert {*found["train"].column_names} == {"index", "text", "label"}


def test_own_validation_split_of_texts_stays_one_in_an_export(tmp_path: Path) -> None:
    """Its rows were once put among the training rows."""

    def part(name: str, count: int) -> datasets.Dataset:
        rows = [f"{name} {row}" for row in range(count)]
        return datasets.Dataset.from_dict({"text": rows, "label": ["x", "y"] * (count // 2)})

    given = datasets.DatasetDict(train=part("train", 8), dev=part("dev", 6), test=part("test", 4))
    data = text_data(finetune_config("reviews", "encoder", None), given, None)
    rows, nothing = data["train"], cast("Any", None)
    loaded = TextRunData(
        data=data,
        model=nothing,
        images=rows,
        given=np.array(rows["label"]),
        clean=None,
        index=np.array(rows["index"]),
        class_names=data.class_names,
        warnings=[],
    )
    Audit(tmp_path, nothing, {}, nothing, np.full((8, 2), 0.5), loaded).export(tmp_path / "out", "weights")
    after = load_text_dataset(str(tmp_path / "out"), own_validation=True)
    assert {name: split["text"][:] for name, split in after.items()} == {
        "train": given["train"]["text"][:], "validation": given["dev"]["text"][:], "test": given["test"]["text"][:]
    }  # fmt: skip


def test_labels_of_texts_are_looked_at_before_anything_is_trained() -> None:
    """A single class once ended in a division by zero, and texts of true labels in a number that is none."""

    def load(labels: list[Any], text: str = "row", **columns: list[Any]) -> Any:
        texts = [f"{text} {row}" if text else " " for row in range(6)]
        return load_text_dataset(datasets.Dataset.from_dict({"text": texts, "label": labels, **columns}))

    with pytest.raises(ValueError, match=r"rows of 1 class"):
        load(["x"] * 6)
    with pytest.raises(ValueError, match=r"No row of split 'train' has a text in 'text'"):
        load(["x", "y"] * 3, text="")
    with pytest.raises(ValueError, match=r"2 row.s. of split 'train' carry -100"):
        refuse_ignored_labels(load([0, 1, -100] * 2))
    assert load([0, 1, -100] * 2).warnings == [
        "2 row(s) of split 'train' carry -100 and are left out of the loss."
    ]
    assert load([1, 2, 1] * 2).warnings == ["1 of 3 classes never occurs in split 'train': '0'."]
    known = load(["x", "y"] * 3, clean_label=["x", "x"] * 3)
    assert known["train"]["clean_label"][:] == [0] * 6
    assert known.noise_report.realised_rate == 0.5
    with pytest.raises(ValueError, match=r"no column holds texts"):
        load_text_dataset(datasets.Dataset.from_dict({"text": [1, 2], "label": ["x", "y"]}))


def test_warnings_of_the_data_are_said_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a column splits the rows once stood in the card alone."""
    rows = [f"row {row},{'xy'[row % 2]},{'test' if row > 15 else 'train'}" for row in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,split", *rows, " ,x,train"]))
    place = "jal_hf.runs.finetune.finetune"
    for name in ("check_encoder", "check_encoder_config"):
        monkeypatch.setattr(f"{place}.{name}", lambda *_: (None, []))
    said: list[str] = []

    def stop(*_: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(f"{place}.text_stages", stop)
    with pytest.raises(InterruptedError):
        finetune(tmp_path / "rows.csv", task="text", model="x", output_dir=tmp_path / "run", say=said.append)
    assert said[0].endswith("1 without text")
    assert said[1:] == ["warning: The rows are split by their column 'split': 17 train, 4 test."]


def test_rows_without_text_are_no_images(tuned: tuple[Path, Path]) -> None:
    record = RunRecord.read(tuned[1])
    record = record.replace(dataset={**record.dataset, "skipped_images": 3})
    assert "3 rows without text were left out" in render_model_card(record)
    assert _left_out(record) == "3 rows without text"


def test_texts_longer_than_the_encoder_are_cut(tmp_path: Path) -> None:
    """128 tokens were once read by encoders that have fewer places."""
    words = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "long": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path
    )
    small = {
        "vocab_size": 3,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "pad_token_id": 0,
    }
    rows = datasets.Dataset.from_dict({"text": ["long " * 200, "long"], "label": [0, 1], "index": [0, 1]})
    for model, places in (
        (BertForSequenceClassification(BertConfig(**small, max_position_embeddings=32)), 32),
        (RobertaForSequenceClassification(RobertaConfig(**small, max_position_embeddings=32)), 31),
        (GPT2ForSequenceClassification(
            GPT2Config(vocab_size=3, n_embd=8, n_layer=1, n_head=2, n_positions=32, pad_token_id=0)), 32),
        (BertForSequenceClassification(BertConfig(**small, max_position_embeddings=512)), 128),
    ):  # fmt: skip
        tokenizer = fitting_tokenizer(tmp_path, model.eval())
        assert [len(ids) for ids in Texts(rows, tokenizer).tokens["input_ids"]] == [places, 1]
        assert text_logits(model, tokenizer, rows["text"][:]).shape == (2, 2)


def test_texts_are_read_to_the_length_asked_for(
    tuned: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """128 tokens were once read whatever anybody asked."""
    record = RunRecord.read(tuned[1])
    assert record.config["data"]["max_length"] == 24
    assert "--max_length 24" in str(record.command)
    # [CLS], 22 words, [SEP]: what stands behind them is seen by nobody.
    start = "the film was very " + "and " * 17
    seen, end, behind = (word["score"] for word in predict_texts(tuned[1], [
        start + "awful", start + "fine", start + "fine awful dull"]))  # fmt: skip
    assert seen != end == behind
    assert main([*finetune_words(*tuned), "--max_length", "30"]) == 2
    assert "max_length 30 instead of 24" in capsys.readouterr().err
    config = finetune_config("reviews", str(tuned[0] / "encoder"), None)
    for asked, line in (
        (None, "32"),
        (16, "16"),
        (64, "32 tokens are read, all that its tokenizer and the encoder take"),
    ):
        asking = config.replace(max_length=asked)
        told = length_line(asking, check_encoder(asking, 2, "first")[0])
        assert told.removesuffix(" tokens are read") == f"of each text the first {line}"


def test_a_length_of_texts_is_refused_for_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--max_length", "64", "--output_dir", str(tmp_path / "run")]) == 2
    assert "max_length is for text" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["finetune"], ["train", "--dataset"]])
def test_table_of_texts_is_pointed_to_the_flag_for_texts(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal once spoke of a column of images alone."""
    write_table(tmp_path / "reviews.csv", 20, 0)
    assert main([*words, str(tmp_path / "reviews.csv"), "--output_dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "Where 'review' holds texts to be classified: jal-hf finetune DATA --task text" in error
    assert main(["train", "--dataset", str(tmp_path / "reviews.csv"), "--task", "text"]) == 2
    assert "jal-hf finetune TABLE --task text --model ENCODER" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no column holds images. Columns: 'x', 'y'. Name it with"):
        find_image_column(datasets.Features(x=datasets.Value("float32"), y=datasets.Value("string")))


@pytest.mark.parametrize("method", ["mixup", "ema+cutmix"])
def test_methods_that_mix_images_are_refused_before_the_work(method: str) -> None:
    with pytest.raises(ValueError, match="mixes images"):
        text_data(finetune_config("reviews", "encoder", None, method=method), None, None)


def test_methods_with_a_row_of_their_own_find_the_numbers_of_texts(tuned: tuple[Path, Path]) -> None:
    """Rows held back leave gaps, behind which no row was found."""
    config = finetune_config("reviews", "encoder", None, val_fraction=0.2)
    data = text_data(config, str(tuned[0] / "reviews"), None)
    texts = Texts(data["train"], AutoTokenizer.from_pretrained(tuned[0] / "encoder"))
    assert max(data["train"]["index"]) >= len(texts)
    assert texts.columns["index"].tolist() == data["train"]["index"][:]


def test_row_weights_of_a_table_are_trained_with(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    lines = (tuned[0] / "reviews" / "train.csv").read_text().splitlines()
    weighted = [lines[0] + ",sample_weight", *(f"{line},0.25" for line in lines[1:])]
    (tmp_path / "rows.csv").write_text("\n".join(weighted))
    rows = load_text_dataset(str(tmp_path / "rows.csv"))["train"]
    assert _weights(rows, None) == [0.25] * 80
    assert _weights(rows, np.full(80, 0.5)) == [0.125] * 80
    assert _weights(rows.remove_columns("sample_weight"), None) is None


def test_splits_and_rows_of_text_are_those_asked_for() -> None:
    """These were once ignored without a word."""

    def part(name: str, count: int) -> datasets.Dataset:
        rows = [f"{name} {row}" for row in range(count)]
        return datasets.Dataset.from_dict({"text": rows, "label": ["x", "y"] * (count // 2)})

    given = datasets.DatasetDict(
        big=part("big", 20), train=part("train", 8), test=part("test", 4), dev=part("dev", 6)
    )

    def sizes(**changes: Any) -> dict[str, int]:
        config = finetune_config("reviews", "encoder", None, **changes)
        found = text_data(config, given, None)
        index = [number for name in ("train", "validation") for number in found[name]["index"]]
        assert len(set(index)) == len(index)
        return {name: len(rows) for name, rows in found.items()}

    assert sizes() == {"train": 8, "test": 4, "validation": 6}
    assert sizes(train_split="big", eval_split="dev") == {"train": 18, "test": 6, "validation": 2}
    assert sizes(val_fraction=0.25) == {"train": 6, "test": 4, "validation": 2}
    given["train"] = part("train", 8).map(
        lambda row, at: {"label": [None, "", "-1"][at] if at < 3 else row["label"]}, with_indices=True
    )
    with pytest.raises(ValueError, match="unlabelled='drop'"):
        sizes()
    found = text_data(finetune_config("reviews", "encoder", None, unlabelled="drop"), given, None)
    assert found["train"]["index"][:] == [3, 4, 5, 6, 7]
    assert found.facts.unlabelled_rows == 3
    assert any("3 row(s) of split 'train' have no label" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "changes", [{"streaming": True}, {"noise": "symmetric:0.2"}, {"image_column": "photo"}]
)
def test_what_only_images_have_is_refused_for_text(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"takes no '{next(iter(changes))}'"):
        text_data(finetune_config("reviews", "encoder", None, **changes), None, None)


def test_folds_of_a_text_run_are_refused(
    tuned: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(tuned[1]), "--folds", "2"]) == 2
    assert "leave folds out" in capsys.readouterr().err


def test_texts_are_classified(
    tuned: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "more.txt").write_text("the plot was dull\n\nthe music was great\n")
    capsys.readouterr()
    assert main(["predict", str(tuned[1]), "the film was superb", str(tmp_path / "more.txt"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["text"] for answer in answers] == [
        "the film was superb", "the plot was dull", "the music was great",
    ]  # fmt: skip
    assert {answer["label"] for answer in answers} <= {"good", "bad"}
    expected: Any = pipeline("text-classification", model=str(tuned[1]))("the film was superb")
    assert answers[0]["label"] == expected[0]["label"]
    assert answers[0]["score"] == pytest.approx(expected[0]["score"], abs=1e-5)
    assert main(["predict", str(tuned[1]), "fine", "--out", str(tmp_path / "answers.csv")]) == 0
    assert (tmp_path / "answers.csv").read_text().startswith("text,label,score\nfine,")


def test_command_of_the_record_says_that_it_is_text(tuned: tuple[Path, Path]) -> None:
    assert "reviews --task text --model encoder" in str(RunRecord.read(tuned[1]).command)


def test_a_cut_off_training_goes_on_to_the_same_weights(
    tuned: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, step = [], RobustTrainer.training_step

    def counted(self: RobustTrainer, *args: Any, **kwargs: Any) -> Any:
        steps.append(self.state.global_step)
        if len(steps) == 6:  # cross entropy, in its second epoch
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(RobustTrainer, "training_step", counted)
    words = finetune_words(tuned[0], tmp_path / "run")
    assert main(words) == 130
    assert (tmp_path / "run" / "finetune" / "ce" / "checkpoint-3").is_dir()
    before = len(steps)
    assert main(words) == 0
    assert steps[before] == 3
    for name in ("ce", "robust"):
        place = Path("finetune", name, "model.safetensors")
        assert (tmp_path / "run" / place).read_bytes() == (tuned[1] / place).read_bytes()


def test_a_wrong_encoder_costs_no_earlier_run(
    tuned: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in tuned[1].rglob("*") if path.is_file()}
    (tmp_path / "empty").mkdir()
    words = ["finetune", str(tuned[0] / "reviews"), "--task", "text", "--model", str(tmp_path / "empty")]
    assert main([*words, "--overwrite", "--output_dir", str(tuned[1])]) == 2
    assert "no tokenizer and encoder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tuned[1].rglob("*") if path.is_file()} == before


def test_empty_and_equal_sentences_are_counted_and_kept_on_one_side(tmp_path: Path) -> None:
    lines = (
        ["text,label"]
        + [f"{word},{label}" for word in [*GOOD, *REST] for label in ("a", "b")]
        + [",a", "  ,b"]
    )
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    data = load_text_dataset(str(tmp_path / "rows.csv"), val_fraction=0.3)
    assert data.skipped_images == 2
    assert data.facts.contradicting_rows == 22
    assert len(data["train"]) + len(data["validation"]) == 22
    assert not set(data["train"]["text"]) & set(data["validation"]["text"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--task", "sound"], "choose one of image, text"), (["--task", "text"], "Name a transformers encoder"),
     (["--task", "text", "--model", "./x"], "there is no such folder"),
     (["--task", "text", "--model", "ENCODER", "--text_column", "stars"], "no column of text 'stars'")],
)  # fmt: skip
def test_what_text_needs_is_said(
    tuned: tuple[Path, Path],
    words: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    words = [str(tuned[0] / "encoder") if word == "ENCODER" else word for word in words]
    where = ["--output_dir", str(tmp_path / "run")]
    assert main(["finetune", str(tuned[0] / "reviews" / "train.csv"), *words, *where]) == 2
    assert sentence in capsys.readouterr().err
