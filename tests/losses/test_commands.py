"""`jal-hf losses` and `jal-hf check`: what they print."""

from __future__ import annotations

import json

import pytest

from jal_hf.cli.main import main
from jal_hf.losses import list_losses


def test_losses_lists_every_loss(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in [*list_losses(), "lt-apl"])


@pytest.mark.parametrize("name", [*list_losses(), "lt-apl"])
def test_losses_explains_each_loss(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", name]) == 0
    printed = capsys.readouterr().out
    assert "formula" in printed
    assert "@" in printed


def test_check_answers_with_verdict_margin_and_smallest_a(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--loss", "amse", "--noise", "symmetric:0.8"]) == 0
    printed = capsys.readouterr().out
    assert "amse (a 30.0, q 2.0) is asymmetric under symmetric:0.8 with 10 classes" in printed
    assert "Smallest safe a of amse: 9." in printed
    words = ["check", "--loss", "amse", "--loss_args", '{"a": 8}', "--noise", "symmetric:0.8", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["asymmetric"] is False
    assert report["smallest_a"] == pytest.approx(9.0)
    assert len(report["classes"]) == 10


def test_check_prints_the_reason_of_the_auto_preset(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "--loss", "jal-ce", "--preset", "auto", "--noise", "asymmetric:0.3,classes=cifar10"]
    assert main(words) == 0
    assert "smallest safe a for amse" in capsys.readouterr().out


def test_check_says_which_parameters_are_not_those_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "--loss", "jal-ce", "--preset", "cifar10", "--noise", "symmetric:0.4", "--json"]
    assert main([*words, "--loss_args", '{"a": 5, "alpha": 1.0}']) == 0
    assert json.loads(capsys.readouterr().out)["preset_reason"].endswith("; but a as given")
    assert main(words) == 0
    assert "as given" not in json.loads(capsys.readouterr().out)["preset_reason"]


@pytest.mark.parametrize(
    "words",
    [["--loss", "jal-cee", "--noise", "symmetric:0.4"], ["--loss", "ce", "--noise", "symetric:0.4"],
     ["--loss", "ce", "--noise", "symmetric:0.4", "--loss_args", "{a: 3"]],
)  # fmt: skip
def test_check_refuses_bad_input_with_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 2
    assert "jal-hf: error:" in capsys.readouterr().err
