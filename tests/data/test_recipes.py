"""The recipes train from data in the form their sets are published in."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from jal_hf.cli.flags import config_of_words
from jal_hf.data import AUGMENTS
from jal_hf.runs.config import RunConfig
from jal_hf.runs.recipes import load_recipe
from jal_hf.runs.run import run_training
from tests.data.conftest import encoded

OWN = ("cifar100", "cifar10n", "webvision-mini", "clothing1m", "imagefolder")
QUICK = [
    *("--max_steps", "2", "--per_device_train_batch_size", "4", "--per_device_eval_batch_size", "8"),
    *("--use_cpu", "--precision", "fp32", "--dataloader_num_workers", "0"),
    *("--dataloader_persistent_workers", "False", "--eval_strategy", "no", "--save_strategy", "no"),
]


def run(recipe: str, dataset: str, folder: Path, *flags: str) -> dict[str, object]:
    settings = config_of_words(
        [recipe, "--dataset", dataset, "--output_dir", str(folder / "run"), *QUICK, *flags]
    )
    run_training(settings)
    record: dict[str, object] = json.loads((folder / "run/run.json").read_text())
    return record


def write_cifar(folder: Path, label: str, classes: int, rows: int = 40) -> str:
    folder.mkdir()
    images = [{"bytes": encoded(seed, side=32), "path": None} for seed in range(rows)]
    table = pa.table({"img": images, label: [seed % classes for seed in range(rows)]})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    pq.write_table(table.slice(0, 8), folder / "test-00000-of-00001.parquet")
    return str(folder)


def test_webvision_mini_trains_from_the_published_lists(webvision: Path, tmp_path: Path) -> None:
    flags = ("--model", "resnet10t", "--image_size", "64")
    record = run("webvision-mini", f"webvision:{webvision}", tmp_path, *flags)
    assert record["dataset"]["num_classes"] == 50  # type: ignore[index]
    assert any("65,944" in warning for warning in record["dataset"]["warnings"])  # type: ignore[index]


def test_clothing1m_trains_from_the_published_lists(clothing1m: Path, tmp_path: Path) -> None:
    flags = ("--model", "resnet10t", "--image_size", "64", "--pretrained", "False")
    record = run("clothing1m", f"clothing1m:{clothing1m}", tmp_path, *flags)
    assert (record["dataset"]["rows"], record["dataset"]["eval_rows"]) == (28, 6)  # type: ignore[index]


def test_imagefolder_trains_from_class_folders(image_folder: Path, tmp_path: Path) -> None:
    record = run("imagefolder", str(image_folder), tmp_path, "--model", "resnet10t", "--image_size", "64")
    assert record["dataset"]["class_names"] == ["cat", "dog"]  # type: ignore[index]


def test_cifar100_trains_from_a_hub_folder(tmp_path: Path) -> None:
    dataset = write_cifar(tmp_path / "cifar100", "fine_label", 20)
    record = run("cifar100", dataset, tmp_path, "--model", "jal_cnn8", "--noise", "symmetric:0.4")
    assert record["noise"]["realised_rate"] == pytest.approx(0.4, abs=0.15)  # type: ignore[index]


def test_cifar10n_trains_on_a_label_file(tmp_path: Path) -> None:
    dataset = write_cifar(tmp_path / "cifar10", "label", 10)
    labels = tmp_path / "cifar10n.parquet"
    clean = [row % 10 for row in range(40)]
    worse = [(label + 1) % 10 if row % 4 == 0 else label for row, label in enumerate(clean)]
    pq.write_table(pa.table({"clean_label": clean, "worse_label": worse}), labels)
    record = run("cifar10n", dataset, tmp_path, "--noise", f"human:{labels}#worse_label")
    assert record["noise"]["realised_rate"] == 0.25  # type: ignore[index]


@pytest.mark.parametrize("name", OWN)
def test_recipe_gives_a_source_for_what_a_paper_fixes_and_says_what_fast_changes(name: str) -> None:
    recipe = load_recipe(name)
    assert {"learning_rate", "num_train_epochs", "image_mean"} <= set(recipe.sources)
    assert recipe.settings["augment"] in AUGMENTS
    assert recipe.fast["why"]
    assert set(recipe.fast) - {"why"}


@pytest.mark.parametrize("name", OWN)
def test_fast_recipe_has_only_flags_and_is_recorded_as_a_deviation(name: str) -> None:
    settings = config_of_words([name, "--fast", "--use_cpu", "--precision", "fp32"])
    changed = set(load_recipe(name).fast) - {"why"}
    assert len(settings.deviations) >= len(changed)


@pytest.mark.parametrize(("name", "told"), [("digits", False), ("imagefolder", False), ("cifar10", True)])
def test_network_of_ones_own_differs_from_a_paper_and_from_nothing_else(name: str, told: bool) -> None:
    config = RunConfig.from_recipe(
        name, model="resnet34", pretrained=True, dataset="mine", num_train_epochs=7
    )
    changed = {text.partition(" ")[0] for text in config.deviations}
    assert changed >= {"num_train_epochs"}
    assert (changed >= {"model", "pretrained", "dataset"}) is told
    assert told or changed == {"num_train_epochs"}


def test_words_for_nothing_are_no_deviation() -> None:
    nothing = {"method": "plain", "loss_scale": "none", "freeze": "none"}
    before, after = (RunConfig.from_recipe("cifar10", **changes) for changes in ({}, nothing))
    assert after.deviations == before.deviations
    assert RunConfig.from_recipe("cifar10", method="ema").deviations != before.deviations


def test_recipes_hold_the_protocols_of_the_papers() -> None:
    """Rows of the papers' table: epochs, batch, rate, clip and schedule of each set."""
    expected = {
        "cifar100": (200, 128, 0.1, 5.0, "cosine_epoch"),
        "cifar10n": (120, 128, 0.01, 5.0, "cosine_epoch"),
        "webvision-mini": (250, 256, 0.4, 5.0, "exponential_epoch"),
        "clothing1m": (10, 256, 0.005, 0.0, "step_epoch"),
    }
    for name, row in expected.items():
        values = load_recipe(name).settings
        found = (
            values["num_train_epochs"],
            values["per_device_train_batch_size"],
            values["learning_rate"],
            values["max_grad_norm"],
            values["lr_scheduler_type"],
        )
        assert found == row, name
    assert yaml.safe_load("1.0e-4") == 1e-4
