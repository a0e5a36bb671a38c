"""`jal-hf train` from the command line: the folder it leaves, how it loads back, and what it refuses."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from transformers import AutoModelForImageClassification, pipeline

import jal_hf.models  # noqa: F401 - registers the networks
from jal_hf.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run of three epochs."""
    folder = tmp_path_factory.mktemp("run") / "out"
    assert main(["train", "--num_train_epochs", "3", "--output_dir", str(folder)]) == 0
    return folder


def test_train_leaves_the_whole_folder(run: Path) -> None:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*")}
    plots = {f"plots/{name}.png" for name in ("curves", "transition_matrix", "confidence_histogram")}
    assert {"config.json", "model.safetensors", "README.md", "run.json", "log.jsonl", *plots} <= names
    assert not [name for name in names if name.endswith(".tmp")]


def test_train_records_what_happened(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["dataset"]["rows"] == 1438
    assert record["noise"]["spec"].startswith("symmetric:0.4")
    assert record["noise"]["realised_rate"] == pytest.approx(0.4, abs=0.002)
    assert record["loss"]["name"] == "jal-ce"
    assert record["model"]["own_network"] is True
    assert record["model"]["pretrained"] is False
    assert record["training"]["epochs"] == 3
    assert record["metrics"]["last"]["accuracy"] > 0.8
    assert record["metrics"]["best"]["accuracy"] >= record["metrics"]["last"]["accuracy"]
    assert 0 <= record["metrics"]["train"]["memorized_rate"] < 0.3
    assert "num_train_epochs 3 instead of 40" in record["protocol"]["deviations"]


def test_checkpoint_gives_the_same_logits_everywhere(run: Path) -> None:
    pixels = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = AutoModelForImageClassification.from_pretrained(run).eval()
    theirs = timm.create_model(f"local-dir:{run}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(ours(pixels).logits, theirs(pixels))


def test_checkpoint_classifies_images_through_pipeline(run: Path) -> None:
    digits = load_digits()
    classify = pipeline("image-classification", model=str(run), top_k=1)
    images = [Image.fromarray(np.uint8(np.round(image * 255 / 16))) for image in digits.images[:50]]
    answers = [answer[0]["label"] for answer in classify(images)]
    assert (
        np.mean([answer == str(label) for answer, label in zip(answers, digits.target, strict=False)]) > 0.8
    )


def test_run_records_that_it_started_from_a_folder_or_a_file(run: Path, tmp_path: Path) -> None:
    short = ["--max_steps", "2", "--max_train_samples", "100", "--max_eval_samples", "50"]
    for flags, kind in (
        (["--model", str(run)], "folder"),
        (["--weights", str(run / "model.safetensors")], "file"),
    ):
        assert main(["train", *flags, *short, "--output_dir", str(tmp_path / kind)]) == 0
        model = json.loads((tmp_path / kind / "run.json").read_text())["model"]
        assert model["pretrained"] is True
        assert model["weights"]["kind"] == kind
        assert str(run.parent) not in json.dumps(model["weights"])


def test_train_refuses_a_folder_with_a_finished_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--output_dir", str(run)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trane"], "Did you mean 'train'"),
        (["train", "digitz"], "Did you mean 'digits'"),
        (["train", "--loss", "jal-cx"], "jal-ce"),
        (["train", "--noise", "simmetric:0.4"], "symmetric"),
        (["train", "--noise", "symmetric:1.4"], "1.4"),
        (["train", "--noise", "asymmetric:0.3,classes=cifar"], "cifar10"),
        (["train", "--loss_args", '{"a": 0.5}'], "at least 1"),
        (["train", "--num_train_epoch", "3"], "--num_train_epochs"),
        (["train", "--learning_rate", "fast"], "fast"),
        (["train", "--label_column", "target"], "'label'"),
        (["train", "--image_column", "picture"], "'image'"),
        (["train", "--model", "jal_cnn9"], "jal_cnn8"),
        (["train", "--dataset", "./absent"], "absent"),
        (["train", "--preset", "cifr10"], "cifar10"),
        (["train", "--label_smoothing_factor", "0.1"], "label_smoothing_factor"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gives_a_sentence_and_exit_code_2(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("jal-hf: error: ")
    assert sentence in error
    assert not list(tmp_path.rglob("run.json"))
    assert not list(tmp_path.rglob("model.safetensors"))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_a_recipe_file_trains_and_flags_override_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "dataset: digits\nnoise: symmetric:0.2\nmodel: jal_digits_cnn\nimage_size: 8\nimage_mean: [0.3]\n"
        "image_std: [0.4]\nloss: gce\nloss_args: {q: 0.5}\nnum_train_epochs: 1\neval_strategy: epoch\n"
    )
    words = ["train", str(tmp_path / "mine.yaml"), "--output_dir", str(tmp_path / "a")]
    assert main([*words, "--max_train_samples", "300"]) == 0
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["loss"]["params"]["q"] == 0.5
    assert record["dataset"]["rows"] == 300


def test_a_recipe_file_with_an_unknown_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("datset: digits\n")
    assert main(["train", str(tmp_path / "mine.yaml")]) == 2
    assert "Did you mean 'dataset'" in capsys.readouterr().err


def test_train_looks_at_a_part_of_a_large_training_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jal_hf.runs.recording.TRAIN_FIGURES_ROWS", 200)
    assert main(["train", "--num_train_epochs", "1", "--output_dir", str(tmp_path / "out")]) == 0
    histogram = json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]["train"][
        "confidence_histogram"
    ]
    assert sum(histogram["clean"]) + sum(histogram["wrong"]) == 200


def test_screens_fit_a_terminal_and_the_other_flags_are_one_word_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in ([], ["train", "--help"], ["doctor"]):
        with contextlib.suppress(SystemExit):
            main(words)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) < 60
        if words != ["doctor"]:
            assert max(map(len, lines)) <= 80
    with pytest.raises(SystemExit):
        main(["train", "--help-all"])
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert "--gradient_accumulation_steps" in shown
    # The parser's own defaults, which no recipe keeps, once stood there.
    for flag, default in (
        ("seed", "0"), ("learning_rate", "the recipe's; for own data by the data"), ("logging_strategy", "epoch"),
        ("num_train_epochs", "the recipe's; for own data 90"), ("output_dir", "runs/RECIPE-LOSS-NOISE-seedN"),
    ):  # fmt: skip
        assert f"(default: {default})" in shown.split(f" --{flag} ")[1].split(" --")[0]


def test_doctor_never_prints_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    assert main(["doctor", "--json"]) == 0
    shown = capsys.readouterr().out
    assert "hf_secret" not in shown
    assert json.loads(shown)["versions"]["torch"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: jal-hf {command}" in capsys.readouterr().out
