"""The step of a run on own data follows its loss, its classes and the rows of a step, where nobody asked for a rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from jal_hf import JALTrainer, create_loss, loss_preset, train
from jal_hf.ground.record import RunRecord
from jal_hf.runs.config import RunConfig
from jal_hf.runs.fitted_training import fitted_training
from jal_hf.runs.grid.cells import Cell, cell_config
from jal_hf.runs.repeat import config_of_run
from tests.runs.helpers import class_folders

SMALL = {"image_size": 16, "model": "jal_mnist_cnn", "augment": "none", "per_device_train_batch_size": 8}


def fitted(recipe: str | None = None, classes: int = 10, rows: int = 50, **changes: object) -> RunConfig:
    config = RunConfig.from_recipe(recipe, **{"dataset": "my_folder", **changes})
    return again(config, classes, rows)


def again(config: RunConfig, classes: int = 10, rows: int = 50) -> RunConfig:
    train = datasets.Dataset.from_dict({"label": [0] * rows})
    args = config.arguments()
    found = fitted_training(config, args, Data(classes, train=train))
    assert args.learning_rate == found.training["learning_rate"]
    assert (args.loss_args or {}) == found.loss_args
    assert args.method == found.method
    return found


class Data(dict[str, Any]):
    def __init__(self, num_classes: int, **splits: Any) -> None:
        super().__init__(splits)
        self.num_classes = num_classes


@pytest.mark.parametrize(
    ("rows", "accumulated", "rate"), [(128, 1, 0.05), (32, 1, 0.0125), (64, 4, 0.1), (64, 16, 0.1)]
)
def test_the_rate_grows_with_the_rows_of_a_step(rows: int, accumulated: int, rate: float) -> None:
    config = fitted(per_device_train_batch_size=rows, gradient_accumulation_steps=accumulated)
    assert config.training["learning_rate"] == pytest.approx(rate)
    assert again(config).training["learning_rate"] == pytest.approx(rate)  # not once more


def test_a_rate_that_was_asked_for_stays_with_the_loss_as_it_is() -> None:
    config = fitted(learning_rate=0.03, per_device_train_batch_size=32)
    assert (config.training["learning_rate"], config.training.get("loss_scale", "none")) == (0.03, "none")
    assert config.method == "plain"
    assert fitted(loss_scale="none").training["loss_scale"] == "none"


def test_optimizers_that_scale_their_steps_get_a_rate_of_their_own() -> None:
    config = fitted(optim="adamw_torch", per_device_train_batch_size=32)
    assert (config.training["learning_rate"], config.training["loss_scale"]) == (1e-3, "none")
    assert fitted(pretrained=True, optim="adamw_torch").training["learning_rate"] == 3e-4


def test_a_papers_recipe_keeps_its_rate_on_own_data() -> None:
    config = fitted("cifar10", per_device_train_batch_size=32)
    assert config.training["learning_rate"] == RunConfig.from_recipe("cifar10").training["learning_rate"]


def test_many_classes_get_the_papers_parameters_for_a_hundred() -> None:
    assert fitted(classes=10).loss_args == {"alpha": 1.0, "beta": 1.0, "a": 30.0}
    assert fitted(classes=50).loss_args == dict(loss_preset("jal-ce", "cifar100").params)
    assert fitted(classes=50, loss="nce+agce").loss_args == dict(loss_preset("nce+agce", "cifar100").params)
    assert fitted(classes=50, loss_args={"a": 3.0}).loss_args == {"a": 3.0}
    assert fitted("cifar10", classes=50).loss_args == RunConfig.from_recipe("cifar10").loss_args


def test_cross_entropy_goes_first_on_few_rows() -> None:
    few = fitted()
    assert few.method == "warmup"
    assert few.output_dir == RunConfig.from_recipe(dataset="my_folder").output_dir
    assert (fitted(method="plain").method, fitted(method="ema").method) == ("plain", "ema")
    assert fitted(loss="ce").method == fitted("cifar10").method == "plain"
    assert fitted(rows=20_000).method == "plain"


def test_rows_of_a_comparison_are_the_loss_alone() -> None:
    shared = RunConfig.from_recipe(dataset="my_folder")
    assert again(cell_config(shared, Cell("jal-ce", "none", 0), "grid")).method == "plain"


def test_preset_auto_works_parameters_out_in_place_of_the_recipes() -> None:
    asked = {"dataset": "my_folder", "preset": "auto"}
    assert RunConfig.from_recipe(**asked).loss_args == {}
    assert RunConfig.from_recipe(**asked, loss_args={"alpha": 2.0}).loss_args == {"alpha": 2.0}
    assert RunConfig.from_recipe(dataset="my_folder").replace(preset="auto").loss_args == {}


@pytest.mark.unit
def test_trainer_record_and_what_follows_from_it_have_the_fitted_step(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=6, test=2)
    changes = {**SMALL, "dataset": str(folder), "max_steps": 2, "output_dir": str(tmp_path / "run")}
    trainer = JALTrainer.from_recipe(**changes)
    expected = create_loss("jal-ce", a=30.0).gradient_scale(3)
    assert trainer.loss_scale == pytest.approx(expected)
    assert trainer.args.learning_rate == pytest.approx(0.05 * 8 / 128)
    trainer.train()
    record = RunRecord.read(tmp_path / "run")
    assert record.config["training"]["learning_rate"] == pytest.approx(0.05 * 8 / 128)
    again = JALTrainer.from_config(config_of_run(tmp_path / "run", record))
    assert (again.args.learning_rate, again.loss_scale) == (trainer.args.learning_rate, trainer.loss_scale)


def test_a_run_is_gone_on_with_whatever_its_rate_was_fitted_to(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=6, test=2)
    changes = {**SMALL, "dataset": str(folder), "output_dir": str(tmp_path / "run"), "max_steps": 2}
    train(**changes)
    train(**changes, resume_from_checkpoint="auto")
    longer = train(**{**changes, "max_steps": 4}, resume_from_checkpoint="auto")
    assert longer.record.training["steps"] == 4
    with pytest.raises(FileExistsError, match="learning_rate"):
        train(**changes, learning_rate=0.05, resume_from_checkpoint="auto")


def test_two_classes_are_learned_from_scratch(tmp_path: Path) -> None:
    """At cross entropy's rate the loss of two classes, 16 times as steep, ends at one class for all."""
    folder = class_folders(tmp_path / "pictures", rows=60, wrong=15, test=20, colours=2)
    result = train(
        **SMALL, dataset=str(folder), num_train_epochs=8, output_dir=str(tmp_path / "run"), save_strategy="no"
    )
    assert result.record.last["accuracy"] > 0.9
