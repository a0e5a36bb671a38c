"""Every screen of every command fits 80 columns, and wrong words are answered with the fix."""

from __future__ import annotations

import contextlib
import json

import pytest

from jal_hf.cli.main import available, main
from jal_hf.losses import list_losses
from jal_hf.training.methods import list_methods

HELP = [[command, "--help"] for command in available()]
RESULTS = [
    [],
    ["losses"],
    ["methods"],
    ["doctor"],
    ["train", "--help-all"],
    ["check", "--loss", "jal-ce", "--noise", "symmetric:0.8"],
    ["check", "--loss", "gce", "--noise", "asymmetric:0.4,classes=cifar10"],
    ["advise", "--num_classes", "10", "--noise", "symmetric:0.4"],
    *(["losses", name] for name in [*list_losses(), "lt-apl"]),
    *(["methods", name] for name in list_methods()),
]
WITH_RESULT = (
    "train",
    "compare",
    "losses",
    "methods",
    "check",
    "audit",
    "predict",
    "advise",
    "tune",
    "doctor",
    "finetune",
    "noise",
    "export",
    "plot",
    "card",
    "push",
    "benchmark",
    "leaderboard",
)


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with contextlib.suppress(SystemExit):
        assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [*HELP, *RESULTS], ids=" ".join)
def test_screen_fits_80_columns(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(words, capsys).splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("words", [["losses"], ["methods"]], ids=" ".join)
def test_wide_screen_shows_more(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    lines = printed(words, capsys).splitlines()
    assert 80 < max(map(len, lines)) <= 160


def test_table_is_ruled_in_a_terminal_and_plain_where_colours_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = printed(["methods"], capsys)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[" in printed(["methods"], capsys)
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(["methods"], capsys) == plain
    assert plain.isascii()


@pytest.mark.parametrize("command", WITH_RESULT)
def test_help_of_a_command_with_a_result_names_json_and_quiet(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed([command, "--help"], capsys)
    assert "--json" in shown
    assert "--quiet" in shown


def test_help_of_train_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(["train", "--help"], capsys).splitlines()) < 60


@pytest.mark.parametrize(
    "words",
    [
        ["losses"],
        ["losses", "gce"],
        ["methods"],
        ["methods", "elr"],
        ["doctor"],
        ["check", "--loss", "gce", "--noise", "symmetric:0.4"],
        ["advise", "--num_classes", "10", "--noise", "symmetric:0.4"],
    ],
    ids=" ".join,
)
def test_json_is_all_that_is_printed_and_quiet_prints_less(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(printed([*words, "--json"], capsys))
    assert len(printed([*words, "--quiet"], capsys)) < len(printed(words, capsys))


def test_quiet_list_of_losses_is_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(printed(["losses", "-q"], capsys).split()) == {*list_losses(), "lt-apl"}


@pytest.mark.parametrize("command", list(available()))
def test_unknown_flag_is_answered_with_the_way_to_the_right_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(SystemExit):
        assert main([command, "--no_such_flag_at_all"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("jal-hf: error: ")
    assert "jal-hf" in said.partition("error: ")[2]
    assert "Traceback" not in said


@pytest.mark.parametrize(("short", "flag"), [("--lr", "--learning_rate"), ("--wd=0.1", "--weight_decay")])
def test_initials_are_answered_with_the_flag_that_they_are_short_for(
    short: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits", short]) == 2
    assert f"Did you mean {flag!r}?" in capsys.readouterr().err


def test_nearest_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "--jsn"]) == 2
    assert "Did you mean '--json'? `jal-hf losses --help` lists all flags." in capsys.readouterr().err
