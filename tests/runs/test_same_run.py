"""One run, three doors: the command, Python, and the config in its record give the same weights, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import jal_hf
from jal_hf.runs.run import run_training

SHORT = {"num_train_epochs": 2, "disable_tqdm": True}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> jal_hf.RunResult:
    """A run from Python."""
    folder = tmp_path_factory.mktemp("python") / "run"
    return jal_hf.train("digits", loss="gce", noise="symmetric:0.3", output_dir=folder, **SHORT)


def test_command_and_python_give_equal_bytes(result: jal_hf.RunResult, tmp_path: Path) -> None:
    words = ["digits", "--loss", "gce", "--noise", "symmetric:0.3", "--num_train_epochs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "jal_hf", "train", *words, "--output_dir", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert weights(tmp_path / "run") == weights(result.folder)


def test_config_of_the_record_trains_it_again(result: jal_hf.RunResult, tmp_path: Path) -> None:
    content = json.loads((result.folder / "run.json").read_text())["config"]
    again = run_training(jal_hf.RunConfig.from_dict(content).replace(output_dir=str(tmp_path / "again")))
    assert weights(again.folder) == weights(result.folder)


def test_run_from_python_leaves_what_the_command_leaves(result: jal_hf.RunResult) -> None:
    names = {path.relative_to(result.folder).as_posix() for path in result.folder.rglob("*")}
    plots = {f"plots/{name}.png" for name in ("curves", "transition_matrix", "confidence_histogram")}
    assert {"config.json", "model.safetensors", "README.md", "run.json", "log.jsonl", *plots} <= names
    record = json.loads((result.folder / "run.json").read_text())
    assert record["command"] == (
        "jal-hf train digits --loss gce --noise symmetric:0.3 --num_train_epochs 2 --disable_tqdm true"
    )
    assert record["loss"]["params"]["q"] == 0.7
    assert record["metrics"]["last"]["accuracy"] == result.record.last["accuracy"]


def test_result_predicts_with_class_names(result: jal_hf.RunResult, tmp_path: Path) -> None:
    digits = load_digits()
    images = [np.uint8(np.round(image * 255 / 16)) for image in digits.images[:30]]
    Image.fromarray(images[0]).save(tmp_path / "first.png")
    answers = result.predict([*images, tmp_path / "first.png"])
    right = [answer["label"] == str(label) for answer, label in zip(answers, digits.target, strict=False)]
    assert np.mean(right) > 0.7
    assert answers[-1] == answers[0]
    assert 0 <= answers[0]["score"] <= 1


def test_result_is_audited(result: jal_hf.RunResult) -> None:
    audit = result.audit()
    assert audit.summary["rows"] == 1438
    assert audit.summary["scores"]["model"]["auroc"] > 0.8
    assert (result.folder / "audit" / "report.html").is_file()


def test_old_record_is_audited_with_what_it_recorded_and_not_with_todays_preset(
    result: jal_hf.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run.json of schema 1 has no config; its command says which preset, its loss section what that meant."""
    from jal_hf.cli.old_records import config_of_command
    from jal_hf.ground.record import RunRecord

    content = json.loads((result.folder / "run.json").read_text())
    del content["config"]
    content["schema"] = 1
    content["command"] = (
        "jal-hf train digits --noise symmetric:0.3 --preset digits --output_dir x --overwrite"
    )
    content["loss"] = {
        "name": "jal-ce",
        "params": {"alpha": 3.0, "beta": 0.5, "a": 12.0},
        "l1_weight_decay": 7e-6,
    }
    config = config_of_command(RunRecord.from_dict(content))
    assert config.loss_args == {"alpha": 3.0, "beta": 0.5, "a": 12.0}
    assert config.training["l1_weight_decay"] == 7e-6
    assert config.training.get("preset") is None
    with pytest.raises(ValueError, match="written by jal_hf 0"):
        jal_hf.audit_run(_folder_with(content, result.folder, tmp_path))


def _folder_with(content: dict[str, object], folder: Path, target: Path) -> Path:
    (target / "old").mkdir()
    for name in ("config.json", "model.safetensors"):
        (target / "old" / name).write_bytes((folder / name).read_bytes())
    (target / "old" / "run.json").write_text(json.dumps(content))
    return target / "old"


def test_checkout_without_metadata_trains(tmp_path: Path) -> None:
    """The package does not plug into itself through an entry point: no installed metadata is needed."""
    code = (
        "import importlib.metadata as m\n"
        "asked, found = [], m.entry_points\n"
        "m.entry_points = lambda **how: (asked.append(how.get('group')), found(**how))[1]\n"
        "from jal_hf import JALTrainingArguments, JALTrainer, create_model\n"
        "args = JALTrainingArguments(output_dir='out', use_cpu=True, push_to_hub=False)\n"
        "trainer = JALTrainer(model=create_model('jal_digits_cnn', num_labels=3), args=args)\n"
        "print(type(trainer).push_to_hub.__module__, [name for name in asked if 'jal' in str(name)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "jal_hf.training.pushing []"
