"""What classifiers of text read: the first token, or the mean of all, and the probe as a model of its own then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, pipeline

from jal_hf import finetune
from jal_hf.cli.main import main
from jal_hf.ground.record import RunRecord
from jal_hf.runs.finetune.candidates import PLAIN, PROBE, ROBUST
from jal_hf.runs.finetune.pooling import choose_pooling, declared_pooling
from tests.runs.test_finetune_text import finetune_words, make_reviews


def declare(encoder: Path, **settings: object) -> None:
    (encoder / "1_Pooling").mkdir()
    (encoder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"), ({"pooling_mode": "mean"}, "mean"),
     ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"), ({"pooling_mode": "cls"}, "first"),
     ({"pooling_mode_max_tokens": True}, None), (None, None)],
)  # fmt: skip
def test_sentence_encoders_say_how_they_are_read(
    reviews: Path,
    tmp_path: Path,
    settings: dict[str, object] | None,
    expected: str | None,
) -> None:
    shutil.copytree(reviews / "encoder", tmp_path / "encoder")
    if settings is not None:
        declare(tmp_path / "encoder", **settings)
    assert declared_pooling(tmp_path / "encoder") == expected


def test_the_first_token_is_read_unless_there_is_cause() -> None:
    right, wrong = np.ones(100, dtype=bool), np.zeros(100, dtype=bool)
    some = np.arange(100) < 10
    assert choose_pooling("auto", None, right, wrong)[0] == "mean"
    assert choose_pooling("auto", None, wrong, right)[0] == "first"
    assert choose_pooling("auto", None, some, some) == (
        "first", "a probe on the mean is ahead by 0.0 points, within the error of 0.0",
    )  # fmt: skip
    # 6 rows for the mean, 5 for the first token: 1 point, with an error of 3.3
    mean, first = np.arange(100) < 6, np.arange(100) >= 95
    assert choose_pooling("auto", None, mean, first)[0] == "first"
    assert choose_pooling("auto", "mean", wrong, right)[0] == "mean"
    assert choose_pooling("first", "mean", right, wrong)[0] == "first"


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reviews")
    make_reviews(root)
    return root


@pytest.fixture(scope="module")
def pooled(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("pooled")
    make_reviews(root)
    declare(root / "encoder", pooling_mode_mean_tokens=True)
    assert main(finetune_words(root, root / "run")) == 0
    return root, root / "run"


def test_the_probe_is_a_model_where_classifiers_read_the_mean(pooled: tuple[Path, Path]) -> None:
    _, run = pooled
    record = RunRecord.read(run)
    assert record.finetune["pooling"] == "mean"
    found = {row["name"]: row for row in record.finetune["candidates"]}
    assert set(found) == {ROBUST, PLAIN, PROBE}
    probe = run / "finetune" / "probe"
    answers = pipeline("text-classification", model=str(probe))(["superb and lovely", "awful and dull"] * 5)
    assert [answer["label"] for answer in answers] == ["good", "bad"] * 5
    assert RunRecord.read(probe).headline["accuracy"] == found[PROBE]["test_accuracy"]
    for folder in (run, probe):
        assert type(AutoModelForSequenceClassification.from_pretrained(folder)).__name__.startswith(
            "MeanPooled"
        )
    assert "no model of this form" not in record.finetune["reason"]


def test_card_of_a_model_that_reads_the_mean_imports_jal_hf_first(
    pooled: tuple[Path, Path],
    reviews: Path,
    tmp_path: Path,
) -> None:
    card = (pooled[1] / "README.md").read_text()
    lines = card[card.index("```python") :].splitlines()
    assert lines[1].startswith("import jal_hf  #")
    assert str(pooled[0]) not in card
    words = [*finetune_words(reviews, tmp_path / "run"), "--pooling", "first"]
    assert main(words) == 0
    assert "import jal_hf" not in (tmp_path / "run" / "README.md").read_text()
    record = RunRecord.read(tmp_path / "run")
    assert record.finetune["pooling"] == "first"
    assert "--pooling first" in record.command
    stock = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stock["architectures"] == ["BertForSequenceClassification"]


def test_the_same_line_again_trains_nothing(
    pooled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (pooled[1] / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr("jal_hf.runs.trainer.JALTrainer.__init__", lambda *_, **__: pytest.fail("trains"))
    assert main(finetune_words(*pooled)) == 0
    assert (pooled[1] / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_that_reads_the_mean_is_audited_used_and_trained_on(
    pooled: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = pooled
    assert main(["audit", str(run), "--export", str(tmp_path / "clean"), "--drop"]) == 0
    capsys.readouterr()
    assert main(["predict", str(run), "the film was superb", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] in ("good", "bad")
    again = finetune(
        str(tmp_path / "clean"), task="text", model=str(run), output_dir=tmp_path / "again",
        precision="fp32", num_train_epochs=1, dataloader_num_workers=0, disable_tqdm=True,
    )  # fmt: skip
    assert again.record.finetune["pooling"] == "mean"
    assert str(root) not in (tmp_path / "again" / "config.json").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--task", "text", "--pooling", "max"], "choose one of auto, mean, first"),
     (["--pooling", "mean"], "add --task text")],
)  # fmt: skip
def test_what_cannot_be_read_is_said(
    reviews: Path,
    tmp_path: Path,
    words: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, place = str(reviews / "reviews" / "train.csv"), str(tmp_path / "run")
    assert main(["finetune", table, "--model", str(reviews / "encoder"), *words, "--output_dir", place]) == 2
    assert sentence in capsys.readouterr().err
