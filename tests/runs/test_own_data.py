"""`jal-hf train --dataset FOLDER`: own data, of whose labels nobody knows how many are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import jal_hf
from jal_hf.cli.main import main
from jal_hf.data import load_noisy_dataset
from jal_hf.ground.run_log import read_log
from jal_hf.runs.config import RunConfig
from jal_hf.runs.fitting import fitted_to_images, pretrained_size
from jal_hf.runs.parts import build_model, load_data
from jal_hf.runs.protocol import changed_setting
from jal_hf.runs.recipes import load_recipe
from tests.runs.helpers import COLOURS, class_folders, save_colour

SMALL = [
    "--image_size",
    "16",
    "--augment",
    "none",
    "--num_train_epochs",
    "2",
    "--per_device_train_batch_size",
    "16",
]
SMALL += ["--dataloader_num_workers", "0", "--precision", "fp32"]


def trained(folder: Path, out: Path, *flags: str) -> dict[str, Any]:
    assert main(["train", "--dataset", str(folder), *SMALL, *flags, "--output_dir", str(out)]) == 0
    return dict(json.loads((out / "run.json").read_text()))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run on a folder without a test split."""
    root = tmp_path_factory.mktemp("own")
    return root / "run", trained(class_folders(root / "pictures"), root / "run")


def test_a_dataset_without_a_recipe_is_own_data_without_added_noise(
    scored: tuple[Path, dict[str, Any]],
) -> None:
    record = scored[1]
    assert record["recipe"] == "imagefolder"
    assert record["model"]["name"] == "resnet18"
    assert record["config"]["data"]["noise"] == "none"


def test_a_folder_without_a_test_split_is_scored_on_rows_held_back(
    scored: tuple[Path, dict[str, Any]],
) -> None:
    dataset, last = scored[1]["dataset"], scored[1]["metrics"]["last"]
    assert (dataset["rows"], dataset["eval_rows"], dataset["validation_rows"]) == (54, None, 6)
    assert 0.0 <= last["validation_accuracy"] <= 1.0
    assert "accuracy" not in last
    assert any("6 of 60 training rows were held back" in text for text in dataset["warnings"])
    lines = [json.loads(line) for line in (scored[0] / "log.jsonl").read_text().splitlines()]
    assert sum("validation_accuracy" in line for line in lines) == 2


def test_closing_table_and_card_show_the_noisy_validation_accuracy_and_claim_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = trained(class_folders(tmp_path / "pictures", test=2), tmp_path / "run", "--val_fraction", "0.2")
    shown = capsys.readouterr().out
    card = (tmp_path / "run" / "README.md").read_text()
    accuracy = f"{100 * record['metrics']['last']['validation_accuracy']:.2f}"
    assert re.search(rf"noisy validation accuracy +{accuracy} %", shown)
    assert accuracy in card
    assert "unknown: the labels are as the data gives them" in shown
    assert record["noise"]["spec"] == "unknown"
    assert record["noise"]["realised_rate"] is None
    for text in (shown, card, json.dumps(record["metrics"])):
        claims = ("clean test", "clean label", '"clean": [', "realised 0", "no noise was added")
        assert not [claim for claim in claims if claim in text.lower()]
    assert "Test accuracy, last epoch" in card


def test_added_noise_on_own_data_is_still_told(tmp_path: Path) -> None:
    record = trained(class_folders(tmp_path / "pictures"), tmp_path / "run", "--noise", "symmetric:0.3")
    assert record["noise"]["realised_rate"] == pytest.approx(0.3, abs=0.02)


def test_rows_are_not_held_back_where_the_user_says_how_the_run_is_scored(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures")
    for number, flags in enumerate((["--val_fraction", "0"], ["--eval_strategy", "no"])):
        record = trained(folder, tmp_path / f"run{number}", *flags)
        assert record["dataset"]["rows"] == 60
        assert record["metrics"]["last"] is None


def test_evaluation_that_was_asked_for_needs_rows_to_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--dataset", str(class_folders(tmp_path / "pictures")), *SMALL, "--val_fraction", "0"]
    assert main([*words, "--eval_strategy", "epoch", "--output_dir", str(tmp_path / "run")]) == 2
    assert "neither a test nor a validation split" in capsys.readouterr().err


_BEST = ["--load_best_model_at_end", "true", "--save_strategy", "epoch"]


@pytest.mark.parametrize("metric", ["accuracy", "validation_loss"])
def test_the_best_model_is_chosen_on_rows_held_back(metric: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    record = trained(class_folders(tmp_path / "pictures"), out, *_BEST, "--metric_for_best_model", metric)
    state = json.loads((out / "checkpoint-8" / "trainer_state.json").read_text())
    name = f"validation_{metric.removeprefix('validation_')}"
    values = [line[name] for line in read_log(out) if name in line]
    best = (min if metric.endswith("loss") else max)(values)
    assert state["best_metric"] == pytest.approx(best)
    assert record["metrics"]["saved"] == {
        "validation_accuracy": next(
            line["validation_accuracy"] for line in read_log(out) if line.get(name) == best
        ),
        "epoch": values.index(best) + 1.0,
        "chosen_by": name,
    }


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--metric_for_best_model", "validation_accuracy"), "needs a validation split"),
        (("--metric_for_best_model", "top5_accuracy"), "more than 5 classes"),
        (("--metric_for_best_model", "validation_f1"), "must be one of loss, accuracy"),
    ],
)
def test_a_metric_of_the_best_model_that_no_evaluation_gives_is_refused_before_training(
    flags: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = class_folders(tmp_path / "pictures", test=4)
    words = ["train", "--dataset", str(pictures), *SMALL, *_BEST, *flags]
    assert main([*words, "--output_dir", str(tmp_path / "run")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_best_model_needs_rows_to_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = class_folders(tmp_path / "pictures")
    words = ["train", "--dataset", str(pictures), "--val_fraction", "0", *SMALL, *_BEST]
    assert main([*words, "--output_dir", str(tmp_path / "run")]) == 2
    assert "load_best_model_at_end needs rows to score" in capsys.readouterr().err


def test_a_run_with_a_validation_split_is_audited_on_exactly_its_training_rows(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = class_folders(tmp_path / "pictures")
    trained(folder, tmp_path / "asked", "--val_fraction", "0.25")
    for run, rows in ((scored[0], 54), (tmp_path / "asked", 45)):
        assert main(["audit", str(run)]) == 0
        index = pq.read_table(run / "audit" / "label_issues.parquet")["index"].to_numpy()
        assert len(np.unique(index)) == len(index) == rows


def test_equal_images_stay_on_one_side_of_the_validation_split(tmp_path: Path) -> None:
    from jal_hf.data import load_noisy_dataset

    folder = class_folders(tmp_path / "pictures", rows=30)
    for path in sorted((folder / "train").rglob("*.png")):
        path.with_name(f"copy-{path.name}").write_bytes(path.read_bytes())
    data = load_noisy_dataset(str(folder), val_fraction=0.2)
    names = {split: {name.replace("copy-", "") for name in data.file_names(split) or ()} for split in data}
    assert names["validation"]
    assert not names["train"] & names["validation"]


def test_a_model_of_other_classes_is_refused_before_training(tmp_path: Path) -> None:
    import timm

    import jal_hf

    model = timm.create_model("resnet10t", num_classes=2)
    with pytest.raises(ValueError, match="3 class"):
        jal_hf.train(
            model=model,
            dataset=str(class_folders(tmp_path / "pictures")),
            image_size=16,
            augment="none",
            dataloader_num_workers=0,
            output_dir=str(tmp_path / "run"),
        )


def test_a_last_batch_of_one_row_stops_no_training_and_every_row_is_evaluated(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=11, test=3)
    record = trained(
        folder, tmp_path / "run", "--dataloader_drop_last", "true", "--per_device_eval_batch_size", "8"
    )
    assert record["metrics"]["last"]["accuracy"] * 9 == pytest.approx(
        round(record["metrics"]["last"]["accuracy"] * 9)
    )
    assert trained(folder, tmp_path / "other")["training"]["steps"] == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_sentence_with_the_way_around_it(
    workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "pictures")
    place = next((folder / "train").iterdir()) if (folder / "train").is_dir() else next(folder.iterdir())
    (place / "damaged.png").write_bytes(b"no image")
    flags = [*SMALL, "--augment", "randomresizedcrop", "--dataloader_num_workers", str(workers)]
    assert main(["train", "--dataset", str(folder), *flags, "--output_dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "damaged.png" in said
    assert "--on_bad_image skip" in said
    assert "Traceback" not in said
    record = trained(folder, tmp_path / "skipped", "--on_bad_image", "skip")
    assert record["dataset"]["skipped_images"] == 1


def test_folder_in_the_place_of_a_recipe_is_told_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder, not a recipe.*--dataset"):
        load_recipe(str(tmp_path))


def test_a_validation_split_beside_a_test_split_scores_the_run(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=12, test=3)
    for seed, colour in enumerate(COLOURS):
        for row in range(2):
            save_colour(folder / "valid" / colour / f"held-{row}.png", colour, 90_000 + 10 * seed + row)
    run = tmp_path / "run"
    dataset = trained(folder, run, "--model", "resnet10t")["dataset"]
    assert (dataset["rows"], dataset["eval_rows"], dataset["validation_rows"]) == (36, 9, 6)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert sum("validation_accuracy" in line for line in lines) == 2
    assert (
        main(["audit", str(run), "--export", str(tmp_path / "clean"), "--drop", "--threshold", "0.001"]) == 0
    )
    written = [tmp_path / "clean" / name for name in ("train", "validation", "test")]
    assert [len(list(split.rglob("*.png"))) for split in written] == [36, 6, 9]
    asked = load_data(RunConfig.from_recipe(dataset=str(folder), val_fraction=0.25))
    assert (len(asked["train"]), len(asked["validation"])) == (27, 9)


def test_a_run_finds_its_data_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative way was once looked up from wherever the audit stood, and then on the Hub."""
    there, here = tmp_path / "there", tmp_path / "here"
    class_folders(there / "in" / "pictures", rows=4)
    np.save(there / "noise.npy", np.eye(3) * 0.7 + 0.1)
    here.mkdir()
    monkeypatch.chdir(there)
    flags = [
        "--model",
        "jal_mnist_cnn",
        "--max_steps",
        "2",
        "--noise",
        "matrix:noise.npy",
        "--output_dir",
        "run",
    ]
    assert main(["train", "--dataset", "in/pictures", *SMALL, *flags]) == 0
    assert "there" not in (there / "run" / "run.json").read_text()
    monkeypatch.chdir(here)
    assert main(["audit", str(there / "run")]) == 0


def test_small_images_are_not_scaled_to_the_size_of_photographs(tmp_path: Path) -> None:
    found = {}
    for side in (24, 110, 400):
        folder = tmp_path / str(side)
        for colour in COLOURS:
            save_colour(folder / "train" / colour / "one.png", colour, 0, side=side)
        data = load_noisy_dataset(str(folder))
        for name, changes in (
            ("fresh", {}),
            ("pretrained", {"pretrained": True}),
            ("asked", {"image_size": 48}),
        ):
            config = fitted_to_images(RunConfig.from_recipe(dataset=str(folder), **changes), data)
            found[side, name] = (config.data.image_size, config.data.augment)
    crops = "randomresizedcrop"
    assert found[24, "fresh"] == (64, "crop-flip")
    assert found[24, "pretrained"] == (96, crops)
    assert found[110, "fresh"] == (128, crops)
    assert found[110, "pretrained"] == (112, crops)
    assert found[400, "fresh"] == found[400, "pretrained"] == (224, crops)
    assert {found[side, "asked"] for side in (24, 110, 400)} == {(48, crops)}


def test_weights_are_shown_pixels_as_they_were_trained_on_them(tmp_path: Path) -> None:
    data = load_noisy_dataset(str(class_folders(tmp_path / "pictures", rows=2)))
    network = jal_hf.create_model(
        "test_resnet", num_labels=3, image_size=64, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6]
    )
    network.save_pretrained(tmp_path / "saved")
    torch.save(network.timm_model.state_dict(), tmp_path / "weights.pth")
    imagenet, half, saved = ([0.485, 0.456, 0.406], [0.5] * 3, [0.1, 0.2, 0.3])
    for mean, changes in (
        (imagenet, {"model": "test_resnet"}),
        (half, {"model": "test_resnet", "weights": str(tmp_path / "weights.pth")}),
        (saved, {"model": f"local-dir:{tmp_path / 'saved'}"}),
        (half, {"model": f"local-dir:{tmp_path / 'saved'}", "image_mean": [0.5] * 3}),
        (imagenet, {"model": "jal_cnn8", "weights": str(tmp_path / "weights.pth")}),
    ):
        asked = RunConfig.from_recipe(dataset=str(tmp_path / "pictures"), **{"image_size": 64, **changes})
        config = fitted_to_images(asked, data)
        if changes["model"] == "jal_cnn8":
            found = config.data.image_mean
        else:
            found = build_model(config, data).config.pretrained_cfg["mean"]
        assert list(found or ()) == pytest.approx(mean), changes
        assert config.deviations == asked.deviations
        begun = config.to_dict()
        assert changed_setting(asked.values, asked.asked, begun) is None
        if config.data.image_mean is None:
            # A run that began when the recipe's values held is not gone on with under others.
            begun["data"]["image_mean"] = imagenet
            assert "image_mean" in str(changed_setting(config.values, config.asked, begun))


def test_a_recipe_of_ones_own_keeps_its_values_whatever_its_file_is_called(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=4)
    recipe = tmp_path / "imagefolder.yaml"
    recipe.write_text(f"{{dataset: {folder}, model: jal_mnist_cnn, image_size: 24, augment: none}}")
    config = RunConfig.from_recipe(recipe)
    assert fitted_to_images(config, load_data(config)) == config


def test_a_network_made_for_one_size_keeps_it(tmp_path: Path) -> None:
    data = load_noisy_dataset(str(class_folders(tmp_path / "pictures", rows=1)))
    assert pretrained_size("vit_tiny_patch16_224", data) is None
    assert pretrained_size("tf_efficientnet_lite0", data) == 96
