"""Published label vectors and real images: the rates of the papers come out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, disable_caching, enable_caching, load_dataset

from jal_hf.noise import add_label_noise, create_noise, noise_report
from jal_hf.noise.columns import label_vector


@pytest.fixture(scope="module")
def cifar10(shared: Path) -> Dataset:
    return load_dataset(str(shared / "data" / "cifar10"), split="train")


@pytest.fixture
def no_cache() -> Iterator[None]:
    """Timed draws must not be read back from an earlier run."""
    disable_caching()
    yield
    enable_caching()


def realised(rows: Dataset, spec: str) -> tuple[float, np.ndarray]:
    """Realised rate and matrix."""
    noise = create_noise(spec, class_names=rows.features["label"].names)
    noisy = add_label_noise(rows, noise)
    report = noise_report(label_vector(noisy, "clean_label"), label_vector(noisy, "label"), noise)
    return report.realised_rate, np.array(report.realised_matrix)


@pytest.mark.parametrize(
    ("column", "percent"),
    [("aggre_label", 9.01), ("random_label1", 17.23), ("random_label2", 18.12), ("random_label3", 17.64)],
)
def test_human_labels_realise_their_published_rate(
    cifar10: Dataset, shared: Path, column: str, percent: float
) -> None:
    path = shared / "data" / "cifar10_noisy_labels" / "cifar10n.parquet"
    assert round(100 * realised(cifar10, f"human:{path}#{column}")[0], 2) == percent


def test_worst_human_labels_realise_40_208_percent(cifar10: Dataset, shared: Path) -> None:
    path = shared / "data" / "cifar10_noisy_labels" / "cifar10n.parquet"
    assert realised(cifar10, f"human:{path}#worse_label")[0] == 0.40208


def test_published_instance_dependent_labels_realise_40_percent(cifar10: Dataset, shared: Path) -> None:
    path = shared / "data" / "cifar10_noisy_labels" / "idn.parquet"
    assert realised(cifar10, f"labels:{path}#idn_0.4")[0] == 0.4


def test_shuffled_copy_of_the_labels_is_refused(cifar10: Dataset, shared: Path, tmp_path: Path) -> None:
    table = pq.read_table(shared / "data" / "cifar10_noisy_labels" / "idn.parquet")
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(order), tmp_path / "shuffled.parquet")
    clean = label_vector(cifar10)
    wrong = int((clean[order] != clean).sum())
    with pytest.raises(ValueError, match=f"differ from the dataset's in {wrong:,} of 50,000 rows"):
        add_label_noise(cifar10, f"labels:{tmp_path / 'shuffled.parquet'}#idn_0.4")


def test_labels_for_another_order_of_cifar100_are_refused(shared: Path) -> None:
    rows = load_dataset(str(shared / "data" / "cifar100"), split="train")
    path = shared / "data" / "cifar10_noisy_labels" / "cifar100_human_and_idn.parquet"
    with pytest.raises(ValueError, match=r"differ from the dataset's in [0-9,]+ of 50,000 rows"):
        add_label_noise(rows, f"human:{path}#noisy_label", label_column="fine_label")


def test_superclass_map_stays_within_the_coarse_labels_of_cifar100(shared: Path) -> None:
    rows = load_dataset(str(shared / "data" / "cifar100"), split="train")
    noisy = add_label_noise(rows, "asymmetric:0.4,classes=cifar100-superclass", label_column="fine_label")
    fine = label_vector(rows, "fine_label")
    coarse_of = np.zeros(100, dtype=int)
    coarse_of[fine] = label_vector(rows, "coarse_label")
    changed = label_vector(noisy, "fine_label")
    assert (changed != fine).mean() == 0.4
    assert np.array_equal(coarse_of[changed], coarse_of[fine])


def test_instance_noise_from_the_images_realises_40_percent_in_every_class(
    cifar10: Dataset, no_cache: None
) -> None:
    start = time.perf_counter()
    rate, matrix = realised(cifar10, "idn:0.4")
    assert time.perf_counter() - start < 60
    assert rate == 0.4
    wrong = 1 - np.diag(matrix)
    assert (wrong > 0.37).all()
    assert (wrong < 0.43).all()
    assert np.array_equal(matrix.argmax(axis=1), np.arange(10))
    off = matrix - np.diag(np.diag(matrix))
    assert off.max() > 0.1  # it follows the images: symmetric noise would give 0.044 everywhere


def test_noise_on_60_000_images_takes_under_two_seconds(shared: Path, no_cache: None) -> None:
    rows = load_dataset(str(shared / "data" / "mnist"), split="train")
    start = time.perf_counter()
    noisy = add_label_noise(rows, "symmetric:0.4")
    assert time.perf_counter() - start < 2
    assert len(noisy) == 60_000
