"""A recipe's loss, network, optimiser and augmentation on data that a person brings."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import timm

import jal_hf
from jal_hf.ground.record import RunRecord
from jal_hf.ground.run_log import read_log
from tests.training.test_raw_data import CLASSES, raw

QUICK = {
    "max_steps": 3, "disable_tqdm": True, "use_cpu": True, "precision": "fp32", "eval_strategy": "no",
    "per_device_train_batch_size": 8,
}  # fmt: skip


def test_a_recipe_trains_on_ones_own_datasets_without_adding_noise(tmp_path: Path) -> None:
    trainer = jal_hf.JALTrainer.from_recipe(
        "cifar10", train_dataset=raw(), eval_dataset=raw(8, seed=1), output_dir=tmp_path / "run", **QUICK
    )
    assert trainer.raw_images.augment == "crop-flip"
    assert trainer.criterion.config()["a"] == 30.0
    assert trainer.args.l1_weight_decay == 5e-5
    assert trainer.model.config.num_labels == 3
    assert np.array_equal(trainer.train_dataset.columns["labels"].numpy(), np.asarray(raw()["label"]))
    trainer.train()
    record = trainer.record
    assert record is not None
    assert record.dataset["class_names"] == CLASSES
    assert "accuracy" in record.last
    assert trainer.predict(raw(4)).predictions.shape == (4, 3)


def test_a_noise_that_is_asked_for_is_put_on_the_training_split(tmp_path: Path) -> None:
    trainer = jal_hf.JALTrainer.from_recipe(
        "cifar10", train_dataset=raw(60), noise="symmetric:0.4", output_dir=tmp_path / "run", **QUICK
    )
    given = trainer.train_dataset.columns["labels"].numpy()
    assert np.mean(given != np.asarray(raw(60)["label"])) == pytest.approx(0.4, abs=0.05)


def test_train_takes_a_dict_of_splits_and_a_network_of_ones_own(tmp_path: Path) -> None:
    data = datasets.DatasetDict({"train": raw(), "test": raw(8, seed=1)})
    network = timm.create_model("test_resnet", num_classes=3)
    result = jal_hf.train(
        "imagefolder", data=data, model=network, image_size=64, output_dir=tmp_path / "run", **QUICK
    )
    assert result.record.model["name"] == "test_resnet"
    assert result.record.noise["spec"] != "symmetric:0.4"
    assert {answer["label"] for answer in result.predict([item["image"] for item in raw(4)])} <= set(CLASSES)
    assert (result.folder / "README.md").is_file()


def test_the_record_tells_figures_of_the_weights_in_the_folder_where_the_best_were_loaded(
    tmp_path: Path,
) -> None:
    # Chosen by the largest loss, so that the best weights are not the last.
    trainer = jal_hf.JALTrainer.from_recipe(
        "digits", output_dir=str(tmp_path / "run"), max_train_samples=96, max_eval_samples=64, max_steps=5,
        per_device_train_batch_size=16, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2,
        load_best_model_at_end=True, metric_for_best_model="loss", greater_is_better=True, disable_tqdm=True,
    )  # fmt: skip
    trainer.train()
    record = RunRecord.read(tmp_path / "run")
    lines = [line for line in read_log(tmp_path / "run") if "eval_loss" in line]
    assert [line["step"] for line in lines] == [2, 4, 5]
    best = max(lines, key=lambda line: float(line["eval_loss"]))
    assert record.saved["epoch"] == best["epoch"]
    assert record.saved["chosen_by"] == "loss"
    assert record.last["epoch"] == lines[-1]["epoch"]
    figures = trainer.evaluate()
    assert record.saved["loss"] == pytest.approx(figures["eval_loss"], rel=1e-6)
    assert record.headline["accuracy"] == figures["eval_accuracy"]
