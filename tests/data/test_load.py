"""Loading small and real datasets in the Hub's layout."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

from jal_hf.data import load_noisy_dataset
from jal_hf.noise import add_label_noise, create_noise
from tests.runs.helpers import class_folders, save_colour


def test_digits_split_is_fixed_and_stratified() -> None:
    data = load_noisy_dataset("digits")
    train, test = data["train"]["label"][:], data["test"]["label"][:]
    assert len(train) + len(test) == 1797
    shares = np.bincount(test, minlength=10) / np.bincount(list(train) + list(test), minlength=10)
    assert np.all(np.abs(shares - 0.2) < 0.01)
    assert not set(data["train"]["index"][:]) & set(data["test"]["index"][:])


def test_noise_reaches_training_rows_only() -> None:
    clean, noisy = load_noisy_dataset("digits"), load_noisy_dataset("digits", noise="symmetric:0.4")
    assert noisy["test"]["label"][:] == clean["test"]["label"][:]
    assert noisy["train"]["clean_label"][:] == clean["train"]["label"][:]
    assert noisy.noise_report.realised_rate == pytest.approx(0.4, abs=0.005)


def test_validation_split_carries_noisy_labels_and_is_stratified() -> None:
    whole = load_noisy_dataset("digits", noise="symmetric:0.4,mode=iid")
    cut = load_noisy_dataset("digits", noise="symmetric:0.4,mode=iid", val_fraction=0.1)
    labels = dict(zip(whole["train"]["index"], whole["train"]["label"], strict=True))
    assert all(
        labels[i] == y for i, y in zip(cut["validation"]["index"], cut["validation"]["label"], strict=True)
    )
    wrong = np.mean(np.array(cut["validation"]["label"]) != np.array(cut["validation"]["clean_label"]))
    assert 0.25 < wrong < 0.55
    assert len(cut["train"]) + len(cut["validation"]) == len(whole["train"])


def test_subset_keeps_row_numbers_so_iid_noise_stays_the_same() -> None:
    whole = load_noisy_dataset("digits", noise="symmetric:0.4,mode=iid")
    part = load_noisy_dataset("digits", noise="symmetric:0.4,mode=iid", max_train_samples=300)
    labels = dict(zip(whole["train"]["index"], whole["train"]["label"], strict=True))
    assert len(part["train"]) == 300
    assert all(labels[i] == y for i, y in zip(part["train"]["index"], part["train"]["label"], strict=True))


def test_mnist_folder_loads_with_columns_found(shared: Path) -> None:
    data = load_noisy_dataset(str(shared / "data/mnist"), max_train_samples=1000, max_eval_samples=200)
    assert (data.image_column, data.label_column, data.num_classes) == ("image", "label", 10)
    assert (len(data["train"]), len(data["test"])) == (1000, 200)


def test_cifar100_folder_takes_the_fine_labels(shared: Path) -> None:
    data = load_noisy_dataset(str(shared / "data/cifar100"), max_train_samples=500)
    assert (data.image_column, data.label_column, data.num_classes) == ("img", "fine_label", 100)


def test_labels_that_came_noisy_are_used_as_they_are_and_said() -> None:
    noisy = load_noisy_dataset("digits", noise="symmetric:0.4")
    again = load_noisy_dataset(dict(noisy), noise="symmetric:0.2")
    assert again["train"]["label"][:] == noisy["train"]["label"][:]
    assert again.noise_report.labels_sha256 == noisy.noise_report.labels_sha256
    assert again.noise_report.realised_rate == noisy.noise_report.realised_rate
    assert any("'symmetric:0.2' was not added" in warning for warning in again.warnings)
    assert load_noisy_dataset(dict(noisy)).warnings == noisy.warnings


def test_folder_of_the_noise_command_trains_on_the_labels_of_its_manifest(tmp_path: Path) -> None:
    from jal_hf.cli.main import main

    folder = tmp_path / "noisy"
    assert main(["noise", "digits", "--noise", "asymmetric:0.3,classes=mnist", "--out", str(folder)]) == 0
    drawn = load_noisy_dataset("digits", noise="asymmetric:0.3,classes=mnist")
    read = load_noisy_dataset(str(folder), noise="symmetric:0.4")
    assert read.noise_report.labels_sha256 == drawn.noise_report.labels_sha256
    assert read.noise_report.spec == drawn.noise_report.spec
    assert read.noise_report.transition_matrix == drawn.noise_report.transition_matrix
    assert len(read.warnings) == 1


def test_clean_labels_out_of_range_are_refused_like_labels() -> None:
    split = load_noisy_dataset("digits")["test"]
    broken = split.add_column("clean_label", [77] * len(split))
    with pytest.raises(ValueError, match=r"'clean_label' .* outside \[0, 10\)"):
        load_noisy_dataset(broken)


def test_add_label_noise_takes_a_loaded_dataset() -> None:
    noisy = add_label_noise(load_noisy_dataset("digits"), "symmetric:0.4", index_column="index")
    drawn = load_noisy_dataset("digits", noise="symmetric:0.4")
    assert noisy["train"]["label"][:] == drawn["train"]["label"][:]
    assert "clean_label" not in noisy["test"].column_names


def test_loaded_dataset_keeps_its_facts_through_copies() -> None:
    data = load_noisy_dataset("digits", noise="symmetric:0.4")
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint == data.fingerprint
    assert again.noise_report == data.noise_report


def test_fingerprint_tells_other_labels_and_images_but_not_noise() -> None:
    plain, noisy = load_noisy_dataset("digits"), load_noisy_dataset("digits", noise="symmetric:0.4")
    assert plain.fingerprint == noisy.fingerprint
    assert plain.fingerprint != load_noisy_dataset("digits", max_train_samples=100).fingerprint


@pytest.mark.parametrize("form", ["class folders", "table of paths"])
def test_fingerprint_tells_images_that_are_files_apart_but_not_their_place(tmp_path: Path, form: str) -> None:
    """Class folders of the same counts once had the same fingerprint, whatever the images."""
    folder = class_folders(tmp_path / "pictures", rows=3)
    if form == "table of paths":
        paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
        lines = [f"{path},{Path(path).parent.name}" for path in paths]
        (folder / "labels.csv").write_text("\n".join(["image,label", *lines]))

    def fingerprint(place: Path) -> str:
        return load_noisy_dataset(
            str(place / "labels.csv" if form == "table of paths" else place)
        ).fingerprint

    first = fingerprint(folder)
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    assert fingerprint(moved) == first
    save_colour(moved / "train" / "red" / "red-001.png", "red", seed=99)
    assert fingerprint(moved) != first
    if form == "class folders":
        (folder / "train" / "red" / "red-001.png").rename(folder / "train" / "red" / "red-0011.png")
        assert fingerprint(folder) != first


@pytest.mark.parametrize("name", ["", " ", "webvision:", "a/b/c", "./nowhere", "absent-*.tar"])
def test_names_that_lead_nowhere_are_not_found(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        load_noisy_dataset(name)


@pytest.mark.parametrize("streams", [False, True])
def test_noise_object_draws_the_labels_of_its_spec(streams: bool) -> None:
    spec = "symmetric:0.4,mode=iid"
    noise = create_noise(spec, num_classes=10)
    by_object = load_noisy_dataset("digits", noise=noise, streaming=streams)
    by_spec = load_noisy_dataset("digits", noise=spec, streaming=streams)
    assert [row["label"] for row in by_object["train"]] == [row["label"] for row in by_spec["train"]]
    assert by_object.noise_report == by_spec.noise_report


def test_noise_for_other_classes_or_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="made for 5 classes, the dataset has 10"):
        load_noisy_dataset("digits", noise=create_noise("symmetric:0.4", num_classes=5))
    named = create_noise("symmetric:0.4", class_names=[f"class {number}" for number in range(10)])
    with pytest.raises(ValueError, match="made for the classes 'class 0'"):
        load_noisy_dataset("digits", noise=named)
    with pytest.raises(TypeError, match="not float"):
        load_noisy_dataset("digits", noise=0.4)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["split", "dict", "streams", "one stream"])
def test_datasets_objects_load_like_their_name(form: str) -> None:
    named = datasets.DatasetDict(load_noisy_dataset("digits"))
    streams = datasets.IterableDatasetDict({name: rows.to_iterable_dataset() for name, rows in named.items()})
    given = {"split": named["train"], "dict": named, "streams": streams, "one stream": streams["train"]}[form]
    data = load_noisy_dataset(given, noise="symmetric:0.4,mode=iid")
    wanted = load_noisy_dataset("digits", noise="symmetric:0.4,mode=iid")
    assert ("test" in data) == (form in ("dict", "streams"))
    assert [row["label"] for row in data["train"]] == wanted["train"]["label"][:]
