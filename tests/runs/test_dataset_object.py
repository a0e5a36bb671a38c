"""A dataset object from Python: its run gets no paper's recipe, says what it was trained on, and can be audited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

import jal_hf
from tests.training.test_raw_data import raw

QUICK: dict[str, Any] = {
    "max_steps": 3, "disable_tqdm": True, "use_cpu": True, "precision": "fp32", "per_device_train_batch_size": 8,
    "eval_strategy": "no", "save_strategy": "no",
}  # fmt: skip
SMALL: dict[str, Any] = {"model": "test_resnet", "image_size": 64}


def splits(rows: int = 24) -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": raw(rows), "test": raw(8, seed=1)})


@pytest.mark.parametrize(
    "given",
    [lambda data: {"data": data}, lambda data: {"dataset": data}, lambda data: {"dataset": data["train"]}],
    ids=["data", "dataset", "one split"],
)
def test_without_a_recipe_an_object_is_own_data(
    tmp_path: Path, given: Callable[[datasets.DatasetDict], dict[str, Any]]
) -> None:
    result = jal_hf.train(**given(splits()), output_dir=tmp_path / "run", **QUICK, **SMALL)
    assert result.record.recipe == "imagefolder"
    assert result.record.noise["spec"] in ("none", "unknown")
    assert result.record.model["name"] == "test_resnet"
    assert not result.record.protocol["paper"]


def test_without_a_recipe_a_trainer_takes_an_object_as_own_data(tmp_path: Path) -> None:
    trainer = jal_hf.JALTrainer.from_recipe(train_dataset=raw(), output_dir=tmp_path, **QUICK, **SMALL)
    assert trainer.config is not None
    assert trainer.config.recipe == "imagefolder"
    assert trainer.raw_images.augment == "randomresizedcrop"


def test_data_by_name_is_the_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    splits().save_to_disk(str(folder))
    result = jal_hf.train(data=folder, output_dir=tmp_path / "run", **QUICK, **SMALL)
    assert result.record.dataset["name"] == "shapes"
    with pytest.raises(ValueError, match=r"both as data and as dataset"):
        jal_hf.train(data=folder, dataset=str(folder), **QUICK)


def test_record_command_and_card_name_no_other_dataset(tmp_path: Path) -> None:
    result = jal_hf.train("cifar10", data=splits(), output_dir=tmp_path / "run", **QUICK)
    text = (result.folder / "run.json").read_text() + (result.folder / "README.md").read_text()
    assert "uoft-cs/cifar10" not in text.replace("instead of uoft-cs/cifar10", "")
    name = result.record.dataset["name"]
    assert result.record.config["data"]["dataset"] == name
    assert f"--dataset '{name}'" in result.record.command
    assert f"dataset {name} instead of uoft-cs/cifar10" in result.record.protocol["deviations"]


@pytest.mark.parametrize("noise", ["none", "symmetric:0.4"])
def test_result_of_an_object_is_audited(tmp_path: Path, noise: str) -> None:
    result = jal_hf.train(data=splits(), noise=noise, output_dir=tmp_path / "run", **QUICK, **SMALL)
    audit = result.audit()
    assert len(audit.issues.index) == 24
    kept = json.loads((audit.folder / "summary.json").read_text())
    assert kept["rows"] == 24
    trained_on = result.trainer.train_dataset.columns["labels"].numpy()  # type: ignore[union-attr]
    order = np.argsort(audit.issues.index)
    assert np.array_equal(np.asarray(audit.issues.given_label)[order], trained_on), "not the run's noise"


def test_fine_tuned_object_is_audited_and_named(tmp_path: Path) -> None:
    result = jal_hf.finetune(
        splits(60), model="test_resnet", pretrained=False, image_size=64, num_train_epochs=1, use_cpu=True,
        disable_tqdm=True, output_dir=tmp_path / "run",
    )  # fmt: skip
    assert "images" not in str(result.record.command).split()
    assert result.record.config["data"]["dataset"] == result.record.dataset["name"]
    assert len(result.audit().issues.index) > 40


def test_folds_of_a_network_that_was_an_object_are_refused(tmp_path: Path) -> None:
    """They once trained the network that the recipe names, and called it the run's."""
    network = jal_hf.create_model("test_efficientnet", num_labels=3, image_size=64)
    result = jal_hf.train(data=splits(), model=network, output_dir=tmp_path / "run", **QUICK)
    with pytest.raises(ValueError, match="test_efficientnet, was given as an object"):
        result.audit(folds=2)
    assert len(result.audit().issues.index) == 24


def test_an_object_that_is_gone_is_asked_for(tmp_path: Path) -> None:
    result = jal_hf.train(data=splits(), output_dir=tmp_path / "run", **QUICK, **SMALL)
    for again in (
        lambda: jal_hf.audit_run(result.folder),
        lambda: jal_hf.JALTrainer.from_config(jal_hf.RunConfig.from_dict(result.record.config)),
    ):
        with pytest.raises(ValueError, match=r"was given as an object.*give it again"):
            again()
    assert len(jal_hf.audit_run(result.folder, dataset=splits()).issues.index) == 24


@pytest.mark.parametrize("relative", [False, True])
def test_a_frame_of_paths_and_labels_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    rows, folder = raw(), tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(rows["image"]):
        image.save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    place = Path("pictures") if relative else folder
    frame = pd.DataFrame(
        {
            "picture": [str(place / f"{number}.png") for number in range(len(rows))],
            "label": [f"kind {label}" for label in rows["label"]],
        }
    )
    for data in (frame, datasets.Dataset.from_pandas(frame)):
        loaded = jal_hf.load_noisy_dataset(data)
        assert loaded.num_classes == 3
        assert [np.asarray(image).sum() for image in loaded["train"]["picture"]] == [
            np.asarray(image).sum() for image in rows["image"]
        ]
    result = jal_hf.train(data=frame, output_dir="run", **QUICK, **SMALL)
    files = result.audit().data.names("train")
    assert files is not None
    assert {Path(name).name for name in files} <= {f"{number}.png" for number in range(len(rows))}
    trainer = jal_hf.JALTrainer.from_recipe(
        train_dataset=frame, eval_dataset=frame[:8], output_dir="parts", **QUICK, **SMALL
    )
    assert len(trainer.train_dataset) == len(rows)
    assert "eval_accuracy" in trainer.evaluate()
    frame.loc[3, "picture"] = "gone.png"
    with pytest.raises(ValueError, match=r"gone\.png"):
        jal_hf.load_noisy_dataset(frame)


def test_objects_of_another_kind_are_answered_with_what_makes_a_dataset_of_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Dataset\.from_list"):
        jal_hf.train(data=[{"image": "a.png", "label": 0}], output_dir=tmp_path / "run", **QUICK)
    with pytest.raises(ValueError, match=r"jal_hf\.train\(data=\.\.\.\)"):
        jal_hf.RunConfig.from_recipe(dataset=raw())


def test_audit_of_a_hand_made_trainer_asks_for_its_data(tmp_path: Path) -> None:
    trainer = jal_hf.JALTrainer(
        model=jal_hf.create_model("test_resnet", num_labels=3, image_size=64),
        args=jal_hf.JALTrainingArguments(str(tmp_path / "run"), max_steps=2, use_cpu=True, disable_tqdm=True),
        train_dataset=raw(),
        loss="jal-ce",
    )  # fmt: skip
    trainer.train()
    with pytest.raises(ValueError, match="give the dataset"):
        jal_hf.audit_run(tmp_path / "run")
    assert len(jal_hf.audit_run(tmp_path / "run", dataset=raw()).issues.index) == len(raw())
