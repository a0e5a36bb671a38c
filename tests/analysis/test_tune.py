"""The search: a noisy score, one resumable file, a recipe that trains, and the preset as its first trial."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jal_hf.analysis.search_space import search_space
from jal_hf.cli.main import main
from jal_hf.runs import RunConfig, load_recipe
from jal_hf.runs.audit.fold_training import QUIET
from jal_hf.runs.fitting import fitted_to_images
from jal_hf.runs.parts import load_data
from jal_hf.runs.protocol import PROTOCOL_FIELDS, REPEATED_FIELDS
from jal_hf.runs.tune.tune import tune
from jal_hf.training.trainer import RobustTrainer
from tests.runs.helpers import class_folders

optuna = pytest.importorskip("optuna")

QUICK = ["digits", "--num_train_epochs", "2", "--per_device_train_batch_size", "128"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches on several threads spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load_study(folder: Path) -> Any:
    return optuna.load_study(study_name="jal_hf", storage=f"sqlite:///{folder / 'study.db'}")


def states(folder: Path) -> list[str]:
    return [trial.state.name for trial in load_study(folder).trials]


def test_tune_scores_noisy_labels_and_writes_a_recipe_that_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jal_hf.runs.tune import tune as module

    seen: list[Any] = []
    build = module.build_trainer

    def spy(config: Any, data: Any, **options: Any) -> Any:
        seen.append(data)
        return build(config, data, **options)

    monkeypatch.setattr(module, "build_trainer", spy)
    folder = tmp_path / "search"
    assert main(["tune", *QUICK, "--loss", "jal-ce", "--trials", "2", "--output_dir", str(folder)]) == 0
    printed = capsys.readouterr().out
    # What is scored is a part of the training rows with the labels as given, four tenths of them wrong.
    scored = seen[0]["test"]
    assert len(seen[0]["train"]) + len(scored) == 1438
    wrong = [given != clean for given, clean in zip(scored["label"], scored["clean_label"], strict=True)]
    assert 0.3 < sum(wrong) / len(wrong) < 0.5

    study = load_study(folder)
    assert study.trials[0].params == {
        "alpha": 1.0,
        "beta": 1.0,
        "a": 30.0,
        "learning_rate": load_recipe("digits").settings["learning_rate"],
    }
    assert study.best_value >= study.trials[0].value
    assert (folder / "plots" / "study.png").is_file()
    recipe = yaml.safe_load((folder / "best.yaml").read_text())
    assert recipe["loss_args"]["a"] == pytest.approx(study.best_params["a"], rel=1e-3)
    assert recipe["learning_rate"] == pytest.approx(study.best_params["learning_rate"], rel=1e-3)
    assert recipe["num_train_epochs"] == 2
    assert f"jal-hf train {folder / 'best.yaml'}" in printed
    assert main(["train", str(folder / "best.yaml"), "--output_dir", str(tmp_path / "run")]) == 0

    # The same folder goes on; other settings are refused.
    assert main(["tune", *QUICK, "--loss", "jal-ce", "--trials", "3", "--output_dir", str(folder)]) == 0
    assert len(states(folder)) == 3
    assert main(["tune", *QUICK, "--loss", "ce", "--trials", "3", "--output_dir", str(folder)]) == 2
    assert "search with other settings (loss, parameters differ)" in capsys.readouterr().err
    words = ["tune", *QUICK, "--loss", "jal-ce", "--method", "elr", "--max_grad_norm", "3", "--trials", "4"]
    assert main([*words, "--output_dir", str(folder)]) == 2
    assert "search with other settings (max_grad_norm, method differ)" in capsys.readouterr().err


def test_trials_see_the_images_of_own_data_as_training_does(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=4)
    config = RunConfig.from_recipe(dataset=str(folder), model="jal_mnist_cnn", num_train_epochs=1)
    found = tune(config, tmp_path / "search", trials=1)
    recipe = yaml.safe_load(found.recipe.read_text())
    fitted = fitted_to_images(config, load_data(config))
    assert (recipe["image_size"], recipe["augment"]) == (fitted.data.image_size, fitted.data.augment)
    assert fitted.data.image_size != config.data.image_size


def test_recipe_of_a_search_on_own_data_trains_as_its_trials_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jal_hf.runs.tune import tune as module

    folder = class_folders(tmp_path / "pictures", rows=4)
    seen: list[RunConfig] = []
    build = module.build_trainer

    def spy(config: RunConfig, data: Any, **options: Any) -> RobustTrainer:
        seen.append(config)
        trainer: RobustTrainer = build(config, data, **options)
        return trainer

    monkeypatch.setattr(module, "build_trainer", spy)
    config = RunConfig.from_recipe(dataset=str(folder), model="jal_mnist_cnn", num_train_epochs=1)
    found = tune(config, tmp_path / "search", trials=1)
    (trial,) = seen
    assert trial.method == "warmup"
    assert trial.training["loss_scale"] == "gradient"
    again = RunConfig.from_recipe(found.recipe, dataset=str(folder))
    searched = {"loss_args", "learning_rate", "dataset", "val_fraction", "l1_weight_decay", *QUIET}
    names = (PROTOCOL_FIELDS | REPEATED_FIELDS) - searched
    assert {name: again.values.get(name) for name in names} == {
        name: trial.values.get(name) for name in names
    }


def test_trials_train_with_the_loss_they_drew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    samples = RobustTrainer.get_batch_samples

    def noted(self: RobustTrainer, *arguments: Any) -> Any:
        drawn.append(self.criterion.config()["a"])
        return samples(self, *arguments)

    monkeypatch.setattr(RobustTrainer, "get_batch_samples", noted)
    folder = tmp_path / "search"
    assert main(["tune", *QUICK, "--loss", "jal-ce", "--trials", "2", "--output_dir", str(folder)]) == 0
    values = [trial.params["a"] for trial in load_study(folder).trials]
    assert list(dict.fromkeys(drawn)) == values


def test_trial_whose_loss_is_not_finite_scores_nothing_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jal_hf.runs.tune import tune as module

    space = search_space("ce", {}, 1e-3)
    diverging = replace(space["learning_rate"], preset=1e15)
    monkeypatch.setattr(module, "search_space", lambda *_: {"learning_rate": diverging})
    config = RunConfig.from_recipe(
        "digits", loss="ce", num_train_epochs=2, max_train_samples=200, per_device_train_batch_size=32
    )
    result = tune(config, tmp_path / "search", 2)
    assert [trial.value == 0 for trial in load_study(tmp_path / "search").trials] == [True, False]
    assert result.score > 0
    assert result.preset_score == 0
    with pytest.raises(ValueError, match="None of the 1 trials got a validation row right"):
        tune(config, tmp_path / "hopeless", 1)


@pytest.mark.slow
def test_tune_goes_on_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    words = [sys.executable, "-m", "jal_hf", "tune", *QUICK, "--trials", "4", "--output_dir", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (
        (folder / "study.db").exists() and "COMPLETE" in states(folder)
    ):
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = states(folder)
    assert 1 <= before.count("COMPLETE") < 4
    assert subprocess.run(words, env=environment, capture_output=True).returncode == 0
    after = states(folder)
    assert after.count("COMPLETE") + after.count("PRUNED") == 4
    assert "RUNNING" not in after


def test_search_space_holds_the_preset_and_starts_where_a_is_allowed() -> None:
    space = search_space("jal-ce", {"alpha": 1.0, "beta": 1.0, "a": 2.0}, 0.1)
    assert set(space) == {"alpha", "beta", "a", "learning_rate"}
    assert space["a"].low >= 1.0
    for interval in space.values():
        assert interval.low < interval.preset < interval.high
    assert set(search_space("ce", {}, 0.1)) == {"learning_rate"}


def test_tune_names_the_install_line_when_optuna_is_absent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("jal_hf.runs.tune.study.importlib.util.find_spec", lambda name: None)
    assert main(["tune", "digits", "--output_dir", str(tmp_path)]) == 2
    assert "pip install 'jal_hf[tune]'" in capsys.readouterr().err


def test_search_with_no_held_back_rows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "tune",
        "digits",
        "--loss",
        "ce",
        "--val_fraction",
        "0",
        "--output_dir",
        str(tmp_path / "search"),
    ]
    assert main([*words, "--trials", "1", "--num_train_epochs", "1", "--max_train_samples", "100"]) == 2
    assert "a search is scored on rows held back from training" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
