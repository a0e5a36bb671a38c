"""Folders of grids and searches: nothing of others is written over, one process at a time, and Ctrl-C loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.attack.helpers import content, refused
from tests.runs.helpers import class_folders

SMALL = ["--max_train_samples", "64", "--max_eval_samples", "16", "--num_train_epochs", "1"]
GRID = ["compare", "digits", *SMALL, "--losses", "ce", "--noises", "none", "--seeds", "0", "--out"]
SEARCH = ["tune", "digits", *SMALL, "--loss", "gce", "--trials", "1", "--output_dir"]


@contextlib.contextmanager
def other_process_in(folder: Path) -> Iterator[None]:
    """Another process holds the folder."""
    code = "import sys, time\nfrom pathlib import Path\nfrom jal_hf.runs.lock import held\n"
    code += "with held(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "name", ["table.md", "table.tex", "results.jsonl", "failures.jsonl", "plots/accuracy.png", "logs/a.log"]
)
def test_grid_writes_over_nothing_of_others(name: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    path.write_text("theirs")
    assert name.partition("/")[0] in refused(*GRID, tmp_path / "theirs")
    assert content(tmp_path) == {f"theirs/{name}": b"theirs"}


@pytest.mark.parametrize("name", ["best.yaml", "plots/study.png", ".jal_hf_trial/mine"])
def test_search_writes_over_nothing_of_others(name: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    path.write_text("theirs")
    assert name.partition("/")[0] in refused(*SEARCH, tmp_path / "theirs")
    assert content(tmp_path) == {f"theirs/{name}": b"theirs"}


@pytest.mark.slow
def test_search_removes_no_folder_of_others(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from jal_hf.cli.main import main

    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "mine").write_text("theirs")
    assert main([*SEARCH, str(tmp_path)]) == 0
    assert (tmp_path / "trial" / "mine").read_text() == "theirs"
    assert (tmp_path / "best.yaml").is_file()


@pytest.mark.parametrize(("words", "name"), [(GRID, "plots"), (GRID, "results.jsonl"), (SEARCH, "plots")])
def test_nothing_is_written_behind_a_link_of_a_grid(words: list[str], name: str, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "target")
    assert "link" in refused(*words, tmp_path / "out")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [["--weights", "broken.safetensors"], ["--model", "nope"]], ids=lambda words: words[0]
)
def test_fine_tuning_removes_nothing_before_its_network_stands(wrong: list[str], tmp_path: Path) -> None:
    data = class_folders(tmp_path / "pictures", rows=12, wrong=2, test=4)
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 99)
    (tmp_path / "run" / "finetune").mkdir(parents=True)
    (tmp_path / "run" / "finetune" / "key.json").write_text('{"key": "of other data"}')
    (tmp_path / "run" / ".jal_hf.json").write_text("{}")
    before = content(tmp_path / "run")
    words = ["--model", "resnet10t", "--image_size", "32", "--output_dir", tmp_path / "run", "--overwrite"]
    refused("finetune", data, *words, *wrong)
    assert content(tmp_path / "run") == before


@pytest.mark.parametrize("words", [GRID, SEARCH], ids=lambda words: words[0])
def test_one_process_works_in_a_folder(words: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with other_process_in(folder):
        assert "Another process" in refused(*words, folder)
    assert content(tmp_path) == {}


def test_preset_is_tried_though_a_kill_came_before_it_took_its_settings(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    from jal_hf.analysis.search_space import Interval
    from jal_hf.runs.tune.study import open_study

    space = {"a": Interval(0.1, 10.0, 2.5)}
    for has_taken in (False, True):
        database = tmp_path / f"{has_taken}.db"
        study, _ = open_study(database, {}, space, 0, 1)
        killed = study.ask()
        if has_taken:
            killed.suggest_float("a", 0.1, 10.0, log=True)
        study, finished = open_study(database, {}, space, 0, 1)
        again = study.ask()
        assert finished == 0
        assert again.suggest_float("a", 0.1, 10.0, log=True) == 2.5
        assert study.trials[0].state == optuna.trial.TrialState.FAIL


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_ends_a_grid_with_a_sentence_and_its_workers_and_the_same_command_goes_on(
    tmp_path: Path,
) -> None:
    words = [sys.executable, "-m", "jal_hf", "compare", "digits", "--losses", "ce,jal-ce", "--noises", "none"]
    words += ["--seeds", "0,1", "--jobs", "2", "--max_train_samples", "256", "--num_train_epochs", "3"]
    words += ["--disable_tqdm", "true", "--out", str(tmp_path / "grid")]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    # Ignored where a shell started the tests in the background, it would be ignored by the command too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = psutil.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    cells = tmp_path / "grid"
    while process.poll() is None and len(list(cells.glob("*/log.jsonl"))) < 2:
        time.sleep(0.05)
    workers = process.children(recursive=True)
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line.strip()][-1].startswith("Stopped. The same command")
    assert "Traceback" not in said
    assert not psutil.wait_procs(workers, timeout=10)[1]
    again = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert len((cells / "results.jsonl").read_text().splitlines()) == 4
