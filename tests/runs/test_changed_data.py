"""What is gone on with is gone on with on the same data: a run, a grid, a search."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import jal_hf
from jal_hf import RunConfig
from jal_hf.cli.main import main
from jal_hf.ground.record import RunRecord
from jal_hf.runs.going_on import has_reached
from jal_hf.runs.grid.cells import Cell, check_grid
from jal_hf.runs.grid.ledger import GridLedger
from jal_hf.runs.grid.workers import CellTrainer
from jal_hf.runs.marker import marked_settings
from jal_hf.runs.parts import check_config
from tests.runs.helpers import class_folders

QUICK: dict[str, Any] = {
    "model": "jal_mnist_cnn",
    "image_size": 16,
    "augment": "none",
    "per_device_train_batch_size": 16,
    "num_train_epochs": 1,
    "dataloader_num_workers": 0,
    "disable_tqdm": True,
}


def clean(folder: Path) -> None:
    """Move one image to the class it belongs to."""
    wrong = next((folder / "train" / "blue").glob("red-*"))
    shutil.move(wrong, folder / "train" / "red" / wrong.name)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pictures", rows=10, wrong=2, test=4)


def test_run_is_not_gone_on_with_on_other_labels(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    jal_hf.train(dataset=str(pictures), output_dir=run, **QUICK)
    shutil.copytree(pictures, tmp_path / "moved" / "pictures")
    longer = {**QUICK, "num_train_epochs": 2, "resume": "auto", "output_dir": run}
    clean(pictures)
    with pytest.raises(FileExistsError, match=r"began on other data.*--overwrite"):
        jal_hf.train(dataset=str(pictures), **longer)
    moved = jal_hf.train(dataset=str(tmp_path / "moved" / "pictures"), **longer)
    assert moved.record.training["epochs"] == 2


def test_cells_of_a_grid_are_trained_on_the_same_data(pictures: Path, tmp_path: Path) -> None:
    shared = RunConfig.from_recipe(dataset=str(pictures), **QUICK)
    first, second, other = Cell("ce", "none", 0), Cell("gce", "none", 0), Cell("gce", "symmetric:0.2", 0)
    ledger = GridLedger(tmp_path / "grid")
    ledger.begin(shared, [first, second, other])
    CellTrainer(shared, ledger.folder)(first)
    ledger.add_result(first, RunRecord.read(ledger.folder / first.folder))
    CellTrainer(shared, ledger.folder)(other)
    clean(pictures)
    with pytest.raises(ValueError, match="The data has changed since ce-none-seed0 was trained"):
        CellTrainer(shared, ledger.folder)(second)


def test_search_is_gone_on_with_on_the_same_data(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    words = ["tune", "--dataset", str(pictures), "--trials", "1", "--output_dir", str(tmp_path / "search")]
    words += [word for name, value in QUICK.items() for word in (f"--{name}", str(value).lower())]
    assert main(words) == 0
    clean(pictures)
    assert main(words) == 2
    assert "(data differ)" in capsys.readouterr().err


def test_finished_run_is_known_again_however_its_rows_were_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    changes = {"num_train_epochs": 1, "max_train_samples": 64, "output_dir": str(run), "disable_tqdm": True}
    made = jal_hf.train("digits", per_device_train_batch_size=32, **changes)
    assert marked_settings(made.folder)["rows"] == 32
    again = RunConfig.from_recipe("digits", per_device_train_batch_size=16, resume="auto", **changes)
    with pytest.raises(FileExistsError, match="per_device_train_batch_size 16 instead of 32"):
        has_reached(again)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert has_reached(again)


def test_overwriting_and_resuming_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="--overwrite starts again and --resume goes on"):
        check_config(RunConfig.from_recipe("digits", overwrite=True, resume="auto"))


@pytest.mark.parametrize("own", ["hub_model_id: me/model", "overwrite: true", "resume_from_checkpoint: auto"])
def test_what_a_grid_decides_may_not_stand_in_its_recipe(own: str, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"dataset: digits\nmodel: jal_digits_cnn\n{own}\n")
    with pytest.raises(ValueError, match=r"stands in the recipe 'mine'"):
        check_grid(RunConfig.from_recipe(recipe), [Cell("ce", "none", 0)], "out")
