"""Every kind of noise draws what was asked, and nothing but seed, row and label decides the draw."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from jal_hf.noise import LabelNoise, NoiseReport, create_noise, labels_sha256, list_noises, noise_report

RATES = [
    "symmetric:0.4",
    "symmetric:0.5,include_true=true",
    "asymmetric:0.3,classes=cifar10",
    "pairflip:0.45",
]
EXACT = [0, 2, 2, 4, 4, 4, 1, 1, 3, 3, 0, 0, 3, 1, 0, 3, 1, 2, 3, 4]
IID = [2, 1, 4, 2, 4, 0, 1, 0, 3, 4, 2, 0, 2, 1, 3, 0, 2, 2, 3, 4]
TRANSITION = [[0.7, 0.2, 0.1, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.05, 0.0, 0.35, 0.6]]


def matrix_spec(folder: Path) -> str:
    path = folder / "T.json"
    path.write_text(json.dumps(TRANSITION), encoding="utf-8")
    return f"matrix:{path}"


def all_specs(folder: Path) -> list[tuple[str, int]]:
    """A spec of every kind that draws, with its number of classes."""
    return [*((spec, 10) for spec in RATES), (matrix_spec(folder), 4), ("idn:0.3", 10), ("pdn:0.3", 10)]


def rows(num_classes: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels in unequal numbers, ids that are not 0..N-1, and features."""
    generator = np.random.default_rng(5)
    labels = np.minimum(generator.geometric(0.25, count) - 1, num_classes - 1)
    ids = generator.permutation(10 * count)[:count]
    return labels, ids, generator.normal(size=(count, 12))


def draw(
    noise: LabelNoise, labels: np.ndarray, ids: np.ndarray, features: np.ndarray, seed: int = 3
) -> np.ndarray:
    return noise.corrupt(labels, seed=seed, index=ids, features=features if noise.needs_features else None)


def test_draws_are_tested_for_every_registered_kind(tmp_path: Path) -> None:
    tested = {spec.partition(":")[0] for spec, _ in all_specs(tmp_path)}
    assert tested | {"none", "labels", "human", "benchmark"} == set(list_noises())


@pytest.mark.parametrize("spec", [*RATES, "matrix"])
def test_iid_draw_follows_its_matrix_within_four_standard_errors(spec: str, tmp_path: Path) -> None:
    num_classes = 4 if spec == "matrix" else 10
    noise = create_noise((matrix_spec(tmp_path) if spec == "matrix" else spec) + ",mode=iid", num_classes)
    asked = noise.transition_matrix()
    assert asked is not None
    labels = np.arange(1_000_000) % num_classes
    report = noise_report(labels, noise.corrupt(labels, seed=1), noise, 1)
    count = 1_000_000 / num_classes
    allowed = 4 * np.sqrt(asked * (1 - asked) / count)
    assert (np.abs(np.array(report.realised_matrix) - asked) <= allowed + 1e-12).all()


@pytest.mark.parametrize("spec", [*RATES, "matrix"])
def test_exact_draw_flips_the_rounded_count_of_each_class(spec: str, tmp_path: Path) -> None:
    num_classes = 4 if spec == "matrix" else 10
    noise = create_noise(matrix_spec(tmp_path) if spec == "matrix" else spec, num_classes)
    asked = noise.transition_matrix()
    assert asked is not None
    labels, ids, _ = rows(num_classes)
    noisy = noise.corrupt(labels, seed=2, index=ids)
    for label in range(num_classes):
        members = labels == label
        flips = round((1 - asked[label, label]) * int(members.sum()))
        counts = np.bincount(noisy[members], minlength=num_classes)
        assert int(members.sum()) - counts[label] == flips
        others = np.delete(asked[label], label)
        if flips:
            assert (np.abs(np.delete(counts, label) - flips * others / others.sum()) < 1).all()


def test_exact_symmetric_draw_spreads_evenly_when_flips_are_few() -> None:
    labels = np.repeat(np.arange(100), 50)  # CIFAR-100 in small: 5 flips for 99 classes
    noisy = create_noise("symmetric:0.1", 100).corrupt(labels)
    for label in range(100):
        counts = np.delete(np.bincount(noisy[labels == label], minlength=100), label)
        assert counts.sum() == 5
        assert counts.max() == 1
    wrong = np.bincount(noisy[noisy != labels], minlength=100)
    assert wrong.max() < 20  # the same few classes are not preferred by every class


@pytest.mark.parametrize("mode", ["exact", "iid"])
def test_instance_noise_flips_the_asked_share_and_never_to_the_clean_label(mode: str) -> None:
    labels, ids, features = rows(10)
    noisy = draw(create_noise(f"idn:0.3,mode={mode}", 10), labels, ids, features)
    flipped = int((noisy != labels).sum())
    assert flipped == 1200 if mode == "exact" else abs(flipped - 1200) < 4 * np.sqrt(4000 * 0.21)


def test_instance_noise_sends_like_images_to_like_labels() -> None:
    features = np.repeat(np.random.default_rng(0).normal(size=(2, 200)) * 5, 500, axis=0)
    noisy = create_noise("idn:0.5", 10).corrupt(np.zeros(1000, dtype=int), features=features)
    for half in (noisy[:500], noisy[500:]):
        wrong = half[half != 0]
        assert np.bincount(wrong).max() > 0.9 * len(wrong)


def test_instance_noise_has_weights_of_its_own_for_each_class_and_seed() -> None:
    labels = np.repeat(np.arange(10), 100)
    features = np.full((1000, 50), 3.0)
    noise = create_noise("idn:0.5", 10)
    usual = set()
    for seed in range(3):
        noisy = noise.corrupt(labels, seed=seed, features=features)
        wrong = [np.bincount(noisy[(labels == k) & (noisy != labels)]).argmax() for k in range(10)]
        assert len(set(wrong)) > 3
        usual.add(tuple(wrong))
    assert len(usual) == 3


def test_part_dependent_noise_realises_the_mean_of_its_rates() -> None:
    labels = np.arange(200_000) % 3
    for rate in (0.05, 0.3):
        noise = create_noise(f"pdn:{rate}", 3)
        noisy = noise.corrupt(labels, features=np.ones((200_000, 1)))
        report = noise_report(labels, noisy, noise)
        share = report.expected_rate
        assert abs(report.realised_rate - share) < 4 * np.sqrt(share * (1 - share) / 200_000)
    assert noise_report(labels, labels, create_noise("pdn:0.05", 3)).expected_rate > 0.08


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("mode", ["exact", "iid"])
def test_draw_follows_its_rows_when_they_are_permuted(number: int, mode: str, tmp_path: Path) -> None:
    spec, num_classes = all_specs(tmp_path)[number]
    noise = create_noise(spec if spec.startswith("pdn") else f"{spec},mode={mode}", num_classes)
    labels, ids, features = rows(num_classes)
    noisy = draw(noise, labels, ids, features)
    order = np.random.default_rng(1).permutation(len(labels))
    assert np.array_equal(draw(noise, labels[order], ids[order], features[order]), noisy[order])
    assert not np.array_equal(draw(noise, labels, ids, features, seed=4), noisy)


@pytest.mark.parametrize("number", range(7))
def test_iid_draw_is_the_same_in_shards_of_any_size(number: int, tmp_path: Path) -> None:
    spec, num_classes = all_specs(tmp_path)[number]
    noise = create_noise(spec if spec.startswith("pdn") else f"{spec},mode=iid", num_classes)
    labels, ids, features = rows(num_classes)
    noisy = draw(noise, labels, ids, features)
    for size in (1, 700, 3999):
        start = 1234 % size
        cuts = slice(start, start + size)
        assert np.array_equal(draw(noise, labels[cuts], ids[cuts], features[cuts]), noisy[cuts])


def test_draw_takes_string_ids() -> None:
    labels = np.arange(1000) % 10
    ids = [f"n{number}/img.jpeg" for number in range(1000)]
    noise = create_noise("symmetric:0.4", 10)
    noisy = noise.corrupt(labels, index=ids)
    assert (noisy != labels).sum() == 400
    assert np.array_equal(noise.corrupt(labels[::-1], index=ids[::-1]), noisy[::-1])


def test_draw_stays_what_it_was_in_earlier_releases() -> None:
    # A change here changes every user's labels: raise _DRAW_VERSION in dataset.py and say so in CHANGELOG.
    labels = np.arange(20) % 5
    exact = create_noise("symmetric:0.5", 5).corrupt(labels, seed=7)
    iid = create_noise("symmetric:0.5,mode=iid", 5).corrupt(labels, seed=7)
    assert exact.tolist() == EXACT
    assert iid.tolist() == IID


def test_report_is_plain_and_reads_back() -> None:
    labels = np.arange(100) % 5
    for spec in ("symmetric:0.4", "idn:0.4"):
        noise = create_noise(spec, 5)
        report = noise_report(labels, noise.corrupt(labels, seed=3, features=np.ones((100, 2))), noise, 3)
        values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert report.to_dict()["realised_matrix"] is report.realised_matrix, "K x K numbers are not copied"
        assert NoiseReport.from_dict({**values, "more": 1}) == report
        assert (values["asked_rate"], values["realised_rate"], values["seed"]) == (0.4, 0.4, 3)
    with pytest.raises(ValueError, match="no 'spec'"):
        NoiseReport.from_dict({})


def test_report_hashes_the_labels_as_little_endian_int64() -> None:
    bytes_of_two_labels = (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    for labels in ([1, 2], np.array([1, 2], dtype=np.uint8), np.array([1, 2], dtype=">i4")):
        assert labels_sha256(labels) == hashlib.sha256(bytes_of_two_labels).hexdigest()


def test_report_tells_the_rate_of_the_spec_from_that_of_all_rows() -> None:
    labels = np.repeat(np.arange(10), 1000)
    noise = create_noise("asymmetric:0.4,classes=cifar10", 10)
    report = noise_report(labels, noise.corrupt(labels), noise)
    assert (report.asked_rate, report.expected_rate, report.realised_rate) == (0.4, 0.2, 0.2)
    assert "asked 40.00% (20.00% of all rows), realised 20.000% (2,000 of 10,000" in str(report)


def test_draws_of_different_seeds_are_independent() -> None:
    labels = np.zeros(2000, dtype=int)
    noise = create_noise("symmetric:0.5,mode=iid", 2)
    draws = np.stack([noise.corrupt(labels, seed=seed) for seed in range(100)])
    assert abs(np.corrcoef(draws)[np.triu_indices(100, 1)]).max() < 6 / np.sqrt(2000)
    assert abs(draws.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(100)


def test_features_may_come_in_blocks() -> None:
    labels, ids, features = rows(10)
    noise = create_noise("idn:0.3", 10)
    blocks: list[int] = []

    def fetch(positions: np.ndarray) -> np.ndarray:
        blocks.append(len(positions))
        return features[positions]

    assert np.array_equal(
        noise.corrupt(labels, seed=3, index=ids, features=fetch), draw(noise, labels, ids, features)
    )
    assert sum(blocks) == 1200
    assert max(blocks) <= 512


def test_rows_without_label_stay_without() -> None:
    labels, ids, features = rows(10)
    labels[::7] = -100
    known = labels != -100
    for spec in ("symmetric:0.4", "idn:0.4"):
        noise = create_noise(spec, 10)
        noisy = draw(noise, labels, ids, features)
        assert (noisy[~known] == -100).all()
        assert np.array_equal(noisy[known], draw(noise, labels[known], ids[known], features[known]))
        assert noise_report(labels, noisy, noise).rows == known.sum()


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, 10], "row 2 holds 10"),
        ([0, -1], "row 1 holds -1"),
        ([0.0, 1.0], "integers"),
        (["a", "b"], "integers"),
        ([[0], [1]], "shape"),
        ([True, False], "integers"),
    ],
)
def test_labels_that_are_no_class_ids_are_refused(labels: list[object], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        create_noise("symmetric:0.4", 10).corrupt(labels)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "0", None, True])
def test_seed_that_is_no_count_is_refused(seed: object) -> None:
    with pytest.raises((ValueError, TypeError), match="seed"):
        create_noise("symmetric:0.4", 10).corrupt([0, 1], seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [[0], [0.0, 1.0], [None, "a"]])
def test_index_that_names_no_rows_is_refused(index: list[object]) -> None:
    with pytest.raises((ValueError, TypeError), match="index"):
        create_noise("symmetric:0.4", 10).corrupt([0, 1], index=index)


@pytest.mark.parametrize("features", [None, np.ones((3, 2)), np.ones(2), np.full((2, 2), np.nan)])
def test_features_that_fit_no_rows_are_refused(features: object) -> None:
    with pytest.raises(ValueError, match="features"):
        create_noise("idn:0.9", 10).corrupt([0, 1], features=features)


@pytest.mark.parametrize("mode", ["exact", "iid"])
def test_new_label_is_drawn_from_all_classes_where_the_true_one_is_included(mode: str) -> None:
    noise = create_noise(f"symmetric:0.8,include_true=true,mode={mode}", num_classes=10)
    clean = np.arange(20_000) % 10
    noisy = noise.corrupt(clean, seed=3)
    matrix = noise.transition_matrix()
    assert matrix is not None
    np.testing.assert_allclose(matrix, 0.2 * np.eye(10) + 0.08, atol=1e-15)
    report = noise_report(clean, noisy, noise, seed=3)
    assert (report.asked_rate, report.expected_rate) == (0.8, pytest.approx(0.72))
    assert report.realised_rate == pytest.approx(0.72, abs=1e-12 if mode == "exact" else 0.01)
    assert "asked 80.00% (72.00% of all rows), realised 7" in str(report)
    older = create_noise(f"symmetric:0.8,include_true_class=true,mode={mode}", num_classes=10)
    assert np.array_equal(older.corrupt(clean, seed=3), noisy)
    assert create_noise(older.spec, num_classes=10).spec == noise.spec
