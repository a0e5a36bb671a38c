"""Loading small and real datasets in the Hub's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jal_hf.data import load_noisy_dataset


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
