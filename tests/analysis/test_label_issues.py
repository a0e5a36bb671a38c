"""Ranking, columns, detection scores and noise estimates, against values counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset

from jal_hf.analysis import LabelIssues, find_label_issues
from jal_hf.analysis.detection import detection_scores
from jal_hf.analysis.estimates import (
    confident_learning_scores,
    estimate_by_confident_learning,
    estimate_from_predictions,
)

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.05, 0.05, 0.9]])
LABELS = np.array([0, 2, 1, 2])
CLEAN = np.array([0, 1, 0, 2])
COLUMNS = ["index", "given_label", "suggested_label", "self_confidence", "margin", "loss", "rank"]


def by_hand() -> LabelIssues:
    return find_label_issues(PROBABILITIES, LABELS, CLEAN, index=[10, 11, 12, 13])


def noisy_problem(rows: int = 3000, classes: int = 5, rate: float = 0.3) -> tuple[np.ndarray, ...]:
    """Probabilities of a good model, given labels and clean labels, all from one seed."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, classes, rows)
    given = clean.copy()
    flipped = rng.random(rows) < rate
    given[flipped] = (clean[flipped] + rng.integers(1, classes, flipped.sum())) % classes
    logits = rng.normal(size=(rows, classes)) + 4.0 * np.eye(classes)[clean]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, given, clean


def test_issues_rank_the_least_believed_label_first() -> None:
    issues = by_hand()
    assert issues.index.tolist() == [11, 12, 10, 13]
    assert issues.rank.tolist() == [1, 2, 3, 4]
    assert issues.suggested_label.tolist() == [1, 0, 0, 2]
    assert issues.self_confidence.tolist() == [0.1, 0.3, 0.7, 0.9]
    np.testing.assert_allclose(issues.margin, [-0.7, -0.3, 0.5, 0.85])
    np.testing.assert_allclose(issues.loss, -np.log([0.1, 0.3, 0.7, 0.9]))


def test_issues_break_ties_by_margin_then_row() -> None:
    p = np.array([[0.2, 0.4, 0.4], [0.2, 0.7, 0.1], [0.2, 0.4, 0.4]])
    assert find_label_issues(p, np.array([0, 0, 0])).index.tolist() == [1, 0, 2]


def test_issues_stay_finite_when_a_probability_is_zero() -> None:
    issues = find_label_issues(np.array([[1.0, 0.0]]), np.array([1]))
    assert np.isfinite(issues.loss).all()
    assert issues.margin.tolist() == [-1.0]


def test_parquet_loads_with_load_dataset_in_the_contract_columns(tmp_path: Path) -> None:
    path = by_hand().write(tmp_path / "label_issues.parquet")
    loaded = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == [*COLUMNS, "clean_label"]
    assert loaded["index"][:] == [11, 12, 10, 13]
    without = find_label_issues(PROBABILITIES, LABELS)
    assert without.to_dataset().column_names == COLUMNS
    assert without.scores() is None


def test_scores_match_a_naive_count() -> None:
    p, given, clean = noisy_problem()
    wrong = given != clean
    confidence = p[np.arange(given.size), given]
    scores = find_label_issues(p, given, clean).scores()
    assert scores is not None
    pairs = confidence[wrong][:, None] < confidence[~wrong][None, :]
    assert scores.auroc == pytest.approx(pairs.mean(), abs=1e-9)
    order = np.argsort(confidence)
    hits = wrong[order]
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    assert scores.average_precision == pytest.approx(precision[hits].mean(), abs=1e-9)
    assert scores.precision_at_realised_rate == pytest.approx(hits[: wrong.sum()].mean())
    assert scores.realised_rate == pytest.approx(wrong.mean())


@pytest.mark.parametrize("wrong", [[False, False], [True, True]])
def test_scores_are_none_when_there_is_nothing_to_tell_apart(wrong: list[bool]) -> None:
    assert detection_scores([0.1, 0.9], wrong) is None


def test_estimate_by_predictions_counts_rows_of_the_true_class() -> None:
    estimate = estimate_from_predictions([0, 0, 0, 1], [0, 1, 1, 1], 3)
    assert estimate.rate == 0.5
    np.testing.assert_allclose(estimate.transition_matrix[0], [1 / 3, 2 / 3, 0.0])
    np.testing.assert_allclose(estimate.transition_matrix[2], [0.0, 0.0, 1.0])


def test_estimates_come_near_the_realised_rate() -> None:
    pytest.importorskip("cleanlab")
    p, given, clean = noisy_problem()
    realised = float((given != clean).mean())
    predicted = find_label_issues(p, given).estimate
    learned = estimate_by_confident_learning(p, given)
    assert abs(predicted.rate - realised) < 0.05
    assert abs(learned.rate - realised) < 0.05
    np.testing.assert_allclose(learned.transition_matrix.sum(axis=1), 1.0)
    matrix = np.array([[((given == s) & (clean == y)).sum() for s in range(5)] for y in range(5)])
    matrix = matrix / matrix.sum(axis=1, keepdims=True)
    assert np.abs(learned.transition_matrix - matrix).max() < 0.08


def test_confident_learning_scores_find_wrong_labels() -> None:
    pytest.importorskip("cleanlab")
    p, given, clean = noisy_problem()
    scores = detection_scores(confident_learning_scores(p, given), given != clean)
    assert scores is not None
    assert scores.auroc > 0.97


def test_confident_learning_names_the_install_line_when_cleanlab_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jal_hf.analysis.estimates.has_cleanlab", lambda: False)
    with pytest.raises(ImportError, match=r"pip install 'jal_hf\[audit\]'"):
        estimate_by_confident_learning(PROBABILITIES, LABELS)


@pytest.mark.parametrize(
    ("p", "labels", "sentence"),
    [
        (np.ones((2, 2, 1)), [0, 0], r"must be \(N, K\)"),
        (np.array([[2.0, -1.0]]), [0], r"negative or not finite in 1 rows"),
        (np.array([[np.nan, 1.0]]), [0], r"not finite"),
        (np.array([[1.0, 3.0]]), [0], r"not logits"),
        (np.array([[0.5, 0.5]]), [2], r"outside \[0, 2\).*rows \[0\] with values \[2\]"),
        (np.array([[0.5, 0.5]]), [0, 1], r"1 rows of probabilities"),
    ],
)
def test_issues_refuse_bad_input_with_a_sentence(p: np.ndarray, labels: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        find_label_issues(p, np.array(labels))


def test_issues_refuse_labels_that_are_not_integers() -> None:
    with pytest.raises(TypeError, match="integer class ids"):
        find_label_issues(PROBABILITIES, np.array([0.0, 1.0, 1.0, 2.0]))
