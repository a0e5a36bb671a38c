"""What --json and --quiet print of the commands that write files or talk to the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jal_hf.cli.main import main
from jal_hf.ground.files import write_text
from tests.demo.conftest import make_run
from tests.hub.conftest import CALLS, run_client
from tests.hub.local_hub import LocalHub

_DRIVER = (
    CALLS
    + """
    noise, board = ["noise", "digits", "--noise", "symmetric:0.3"], ["benchmark", "digits", "--noise", "pairflip:0.2"]
    call("push json", "push", "run", "tester/a", "--space", "tester/page", "--json")
    call("push quiet", "push", "run", "tester/b", "-q")
    call("noise json", *noise, "--push", "tester/noisy", "--json")
    call("benchmark json", *board, "--push", "tester/board", "--out", "board", "--json")
    call("benchmark quiet", *board, "--out", "board2", "-q")
    call("leaderboard json", "leaderboard", "tester/board", "--json")
    call("leaderboard quiet", "leaderboard", "tester/board", "-q")
    fault("403", "/commit/")
    call("refused", *noise, "--push", "tester/late", "--out", "kept", "--json")
    fault("403", "/spaces/")
    call("no page", "push", "run", "tester/c", "--space", "tester/other", "--json")
    Path("told.json").write_text(json.dumps(told))
"""
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("output") / "run")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Exit code, stdout and stderr of the commands that talk to the Hub."""
    folder = tmp_path_factory.mktemp("told")
    make_run(folder / "run")
    with LocalHub() as hub:
        done = run_client(hub, folder, _DRIVER)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
        yield json.loads((folder / "told.json").read_text(encoding="utf-8"))


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main(list(map(str, words))) == 0
    return capsys.readouterr().out


def test_card_names_its_file_or_holds_the_card(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "README.md"
    written = json.loads(shown(capsys, "card", run, "--json"))
    card = path.read_text(encoding="utf-8")
    assert written == {"file": str(path), "card": card}
    assert json.loads(shown(capsys, "card", run, "--print", "--json")) == {"file": None, "card": card}
    assert shown(capsys, "card", run, "--quiet") == f"{path}\n"
    assert shown(capsys, "card", run, "--print", "--quiet") == card


def test_plot_names_the_files_that_it_wrote(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = json.loads(shown(capsys, "plot", run, "--json"))["files"]
    assert str(run / "plots" / "curves.png") in files
    assert all(Path(file).is_file() for file in files)
    pull = ["plot", "--gradients", "ce,mae", "--output", tmp_path / "pull.png"]
    assert shown(capsys, *pull, "--quiet").split() == json.loads(shown(capsys, *pull, "--json"))["files"]


def test_export_names_its_file_and_the_difference(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.pt"
    words = ["export", run, "--format", "torchscript", "--out", file]
    facts = json.loads(shown(capsys, *words, "--json"))
    assert 0 <= facts.pop("largest_difference") < 1e-4
    assert facts == {"file": str(file), "format": "torchscript"}
    assert shown(capsys, *words, "--quiet") == f"{file}\n"


@pytest.mark.parametrize("words", [["predict", "RUN", "a.png"], ["export", "RUN"]])
def test_folder_in_the_place_of_a_file_is_refused_before_the_work(
    words: list[str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(run) if word == "RUN" else word for word in words]
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert f"{str(tmp_path)!r} is a folder; name a file to write." in capsys.readouterr().err
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_text(tmp_path, "text")
    assert not list(tmp_path.iterdir())


def test_noise_gives_the_report_and_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["noise", "digits", "--noise", "symmetric:0.3", "--seed", "5", "--out"]
    facts = json.loads(shown(capsys, *words, tmp_path / "a", "--json"))
    assert facts["folder"] == str(tmp_path / "a")
    assert facts["commit"] is None
    assert facts["spec"] == "symmetric:0.3"
    assert facts["realised_rate"] == pytest.approx(0.3, abs=0.01)
    manifest = json.loads((tmp_path / "a" / "noise_manifest.json").read_text(encoding="utf-8"))
    assert facts["labels_sha256"] == manifest["labels_sha256"]
    assert shown(capsys, *words, tmp_path / "b", "--quiet") == f"{tmp_path / 'b'}\n"


def test_push_names_commit_and_space(told: dict[str, Any]) -> None:
    facts = json.loads(told["push json"]["out"])
    assert facts.keys() == {"commit", "space"}
    assert "tester/a/commit/" in facts["commit"]
    assert "tester/page/commit/" in facts["space"]
    (line,) = told["push quiet"]["out"].splitlines()
    assert "tester/b/commit/" in line


def test_pushed_datasets_name_their_commit(told: dict[str, Any]) -> None:
    noisy, board = (json.loads(told[name]["out"]) for name in ("noise json", "benchmark json"))
    assert noisy["folder"] is None
    assert "tester/noisy/commit/" in noisy["commit"]
    assert board["folder"] == "board"
    assert "tester/board/commit/" in board["commit"]
    assert list(board["tasks"]) == ["pairflip-0.2"]
    assert told["benchmark quiet"]["out"] == "board2\n"


def test_leaderboard_has_no_result_yet(told: dict[str, Any]) -> None:
    assert json.loads(told["leaderboard json"]["out"])["rows"] == []
    assert told["leaderboard quiet"]["out"].strip() == ""


def test_what_stands_is_printed_when_the_hub_refuses_the_rest(told: dict[str, Any]) -> None:
    kept, half = told["refused"], told["no page"]
    assert (kept["code"], half["code"]) == (1, 1)
    assert (json.loads(kept["out"])["folder"], json.loads(kept["out"])["commit"]) == ("kept", None)
    assert "The copy is complete in kept." in kept["err"]
    assert "tester/c/commit/" in json.loads(half["out"])["commit"]
    assert json.loads(half["out"])["space"] is None
    assert "Try again with: jal-hf push run tester/c --space tester/other" in half["err"]
