"""Advice: the theorem's smallest a, matrices no loss can mend, estimates, the papers' nearest figures."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jal_hf.analysis.advice import NoiseFacts, advise, blocked_classes, hardest_rows, kind_of_matrix
from jal_hf.analysis.advice_data import noise_of_spec
from jal_hf.analysis.advice_text import advice_text
from jal_hf.analysis.paper_results import nearest_column, paper_columns, paper_tables
from jal_hf.analysis.simple_model import estimate_noise
from jal_hf.cli.main import main
from jal_hf.noise import create_noise
from jal_hf.runs import RunConfig


def test_advise_says_a_of_at_least_nine_under_symmetric_eight_tenths(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["advise", "--num_classes", "10", "--noise", "symmetric:0.8"]) == 0
    printed = capsys.readouterr().out
    assert "a >= 9." in printed
    assert "jal-ce     65.43 ± 0.99" in printed
    assert "1. jal-ce(alpha=1, beta=1, a=30)" in printed


def test_advise_says_no_loss_can_help_where_no_label_dominates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = np.eye(4)
    matrix[2] = [0.1, 0.1, 0.35, 0.45]
    np.save(tmp_path / "T.npy", matrix)
    assert main(["advise", "--num_classes", "4", "--noise", f"matrix:{tmp_path / 'T.npy'}"]) == 0
    printed = capsys.readouterr().out
    assert "No loss can help" in printed
    assert "class 2: label 3 is given 45.0 % of the time, its own 35.0 %" in printed
    assert "Worth training" not in printed


def test_advice_changes_an_unsafe_a() -> None:
    # W / (w_m - w_n) = 1 / 0.02: CIFAR-10's a = 30 is too small.
    matrix = np.full((3, 3), 0.49)
    matrix[:, 2] = 0.0
    matrix[0, 0] = matrix[1, 1] = 0.51
    matrix[0, 1] = matrix[1, 0] = 0.49
    matrix[2] = [0.0, 0.0, 1.0]
    advice = advise(NoiseFacts("asymmetric", 0.33, matrix, "made up"), "cifar10")
    assert advice.minimum_a == pytest.approx(50.0)
    jal = next(item for item in advice.suggestions if item.name == "jal-ce")
    assert jal.parameters["a"] == pytest.approx(75.0)
    assert "below the smallest safe a" in jal.reason
    asymmetric = {loss.name: loss.asymmetric for loss in advice.losses}
    assert not asymmetric["amse"]
    assert not asymmetric["ce"]
    assert asymmetric["mae"]


def test_flags_of_advice_train_the_parameters_that_it_names() -> None:
    advice = advise(noise_of_spec("symmetric:0.88", 10))
    changed = [item for item in advice.suggestions if "below the smallest safe a" in item.reason]
    assert changed
    assert changed != list(advice.suggestions)
    for item in advice.suggestions:
        parser = argparse.ArgumentParser()
        for flag in ("--loss", "--preset", "--loss_args"):
            parser.add_argument(flag)
        asked = vars(parser.parse_args(shlex.split(item.flags)))
        assert f"jal-hf train {item.flags} ..." in advice_text(advice)
        config = RunConfig.from_recipe("digits", **{key: value for key, value in asked.items() if value})
        assert (config.loss, config.loss_args) == (item.name, item.parameters)


def test_advise_as_json_loads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "digits", "--noise", "symmetric:0.4", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["minimum_a"] == pytest.approx(1.0 / (0.6 - 0.4 / 9))
    assert content["suggestions"][0]["loss"] == "jal-ce"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["advise"], "Give a dataset, or --num_classes K with --noise SPEC."),
        (["advise", "digits"], "Nothing is known of the noise"),
        (["advise", "--num_classes", "10", "--noise", "symetric:0.4"], "symmetric"),
        (["advise", "--num_classes", "10", "--noise", "idn:0.4"], "give the dataset too"),
        (["advise", "digits", "--num_classes", "7", "--noise", "symmetric:0.4"], "has 10 classes, not 7"),
    ],
)
def test_advise_answers_bad_input_with_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert sentence in capsys.readouterr().err


def test_advise_counts_instance_dependent_noise_on_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "digits", "--noise", "idn:0.2"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "counted against the clean labels" in printed
    assert "instance-dependent 0.2" in printed


@pytest.mark.parametrize("spec", ["symmetric:0.4", "asymmetric:0.3,classes=mnist"])
def test_estimate_comes_within_three_points_on_digits(spec: str) -> None:
    pytest.importorskip("cleanlab")
    digits = load_digits()
    labels = create_noise(spec, num_classes=10).corrupt(digits.target, seed=1)
    found = estimate_noise((digits.data / 16).astype(np.float32), labels, folds=3)
    realised = float((labels != digits.target).mean())
    assert abs(found.estimate.rate - realised) < 0.03
    counts = np.zeros((10, 10))
    np.add.at(counts, (digits.target, labels), 1.0)
    matrix = counts / counts.sum(axis=1, keepdims=True)
    assert np.abs(found.estimate.transition_matrix - matrix).max() < 0.1
    assert kind_of_matrix(found.estimate.transition_matrix) == spec.split(":")[0]


def test_estimate_names_classes_without_examples() -> None:
    with pytest.raises(ValueError, match=r"Classes \[1\] have no example"):
        estimate_noise(np.zeros((20, 3), np.float32), np.array([0, 2] * 10))


def test_advise_estimates_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cleanlab")
    assert main(["advise", "digits", "--estimate", "--folds", "2"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "estimated by a simple model on 1,438 rows, 2 folds" in printed


def test_blocked_classes_count_a_tie_as_blocked() -> None:
    assert [case.label for case in blocked_classes(np.array([[0.5, 0.5], [0.0, 1.0]]))] == [0]
    assert blocked_classes(np.array([[0.51, 0.49], [0.0, 1.0]])) == ()


def test_hardest_rows_are_one_for_symmetric_noise_and_include_the_worst() -> None:
    symmetric = create_noise("symmetric:0.4", num_classes=10).transition_matrix()
    assert symmetric is not None
    assert len(hardest_rows(symmetric)) == 1
    assert [0.0, 0.45, 0.55] in hardest_rows(np.array([[1.0, 0, 0], [0, 0.9, 0.1], [0, 0.45, 0.55]]))


def test_advice_refuses_what_is_no_transition_matrix() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        advise(NoiseFacts("symmetric", 0.4, np.ones((3, 3)), "made up"))
    with pytest.raises(ValueError, match="shape"):
        advise(NoiseFacts("symmetric", 0.4, np.ones((3, 2)), "made up"))


@pytest.mark.parametrize(
    ("question", "dataset", "noise"),
    [
        (("symmetric", 0.75, 10, ""), "CIFAR-10", "symmetric 0.8"),
        (("symmetric", 0.4, 10, "ylecun/mnist"), "MNIST", "symmetric 0.4"),
        (("asymmetric", 0.3, 90, "birds"), "CIFAR-100", "asymmetric 0.3"),
        (("idn", 0.6, 10, "uoft-cs/cifar10"), "CIFAR-10", "instance-dependent 0.6"),
        (("human", 0.4, 10, ""), "CIFAR-10N", "worst"),
        (("none", 0.0, 10, ""), "CIFAR-10", "clean"),
    ],
)
def test_nearest_column_fits_dataset_kind_and_rate(
    question: tuple[str, float, int, str], dataset: str, noise: str
) -> None:
    column = nearest_column(*question)
    assert (column.dataset, column.noise) == (dataset, noise)


def test_paper_columns_hold_the_published_figures() -> None:
    column = nearest_column("symmetric", 0.8, 10, "cifar10")
    assert column.ranked()[0] == ("jal-ce", 65.43, 0.99)
    assert len(paper_columns()) == 50
    assert paper_tables()["source"]["jal"].startswith("Joint Asymmetric Loss")


def test_packaged_tables_equal_the_shared_ones(shared: Path) -> None:
    assert paper_tables() == json.loads((shared / "paper" / "tables.json").read_text())


def test_noise_of_spec_keeps_kind_and_rate() -> None:
    facts = noise_of_spec("pairflip:0.3", 5)
    assert (facts.kind, facts.rate) == ("pairflip", pytest.approx(0.3))


def test_folds_without_an_estimate_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """They were once ignored."""
    assert main(["advise", "--num_classes", "10", "--noise", "symmetric:0.4", "--folds", "3"]) == 2
    assert "--folds is of --estimate" in capsys.readouterr().err
