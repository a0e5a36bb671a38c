"""Working through a grid: continuing, failing, and the files that tell of it."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid import schedule
from jal_hf.runs.grid.cells import Cell
from jal_hf.runs.grid.ledger import GridLedger
from jal_hf.runs.grid.schedule import run_cells
from jal_hf.runs.grid.workers import WorkerPool, worker_environment
from tests.compare.helpers import CELLS, record

# A worker without torch: it trains nothing, and fails as the loss's name tells it to.
WORKER = """
import json, os, signal, sys
sys.stdin.readline()
for line in sys.stdin:
    cell = json.loads(line)
    print("a library says hello")
    if cell["loss"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if cell["loss"] == "raises":
        raise RuntimeError("out of memory")
    if cell["loss"] == "hangs":
        print("started", file=sys.stderr, flush=True)
        signal.pause()
    print(f'{cell["loss"]}-{cell["noise"]}-seed{cell["seed"]}', flush=True)
"""


def no_stop() -> None:
    """Nothing runs on its own in these tests."""


class Training:
    """Stands in for training: writes each cell's record, or fails where it was told to."""

    def __init__(self, folder: Path, failing: str = "") -> None:
        self.folder, self.failing = folder, failing
        self.trained: list[Cell] = []

    def __call__(self, cell: Cell) -> str | None:
        self.trained.append(cell)
        if cell.loss == self.failing:
            return "ValueError: this loss fails."
        (self.folder / cell.folder).mkdir(exist_ok=True)
        record(0.9 - 0.1 * cell.seed).write(self.folder / cell.folder)
        return None


def begun(folder: Path) -> GridLedger:
    ledger = GridLedger(folder)
    ledger.begin(RunConfig.from_recipe("cifar10"), CELLS)
    return ledger


def test_grid_trains_only_what_has_no_result(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    ledger.add_result(CELLS[1], record(0.5))
    training = Training(tmp_path)
    assert run_cells(CELLS, ledger, training, no_stop) == {}
    assert training.trained == [CELLS[0], CELLS[2], CELLS[3]]
    assert ledger.finished() == set(CELLS)
    assert ledger.results()[0]["accuracy"] == 0.5


def test_grid_refuses_another_noise_file_of_the_same_name(tmp_path: Path) -> None:
    out, config = tmp_path / "grid", RunConfig.from_recipe("cifar10")
    files = [tmp_path / folder / "T.npy" for folder in ("a", "b", "moved")]
    for file, content in zip(files, (b"one", b"two", b"one"), strict=True):
        file.parent.mkdir()
        file.write_bytes(content)
    first, other, moved = (Cell("ce", f"matrix:{file},mode=iid", 0) for file in files)
    ledger = GridLedger(out)
    ledger.begin(config, [first])
    ledger.begin(config, [other])  # nothing was trained on the first
    ledger.begin(config, [first])
    ledger.add_result(first, record(0.5))
    for cells in ([other], [Cell("gce", other.noise, 1)]):
        with pytest.raises(ValueError, match=r"the noise 'matrix:T.npy,mode=iid'.* other content"):
            ledger.begin(config, cells)
    ledger.begin(config, CELLS)
    ledger.begin(config, [moved])
    with pytest.raises(ValueError, match="other content"):
        ledger.begin(config, [other])
    assert str(tmp_path) not in (out / "grid.json").read_text()
    known = json.loads((out / "grid.json").read_text())
    (out / "grid.json").write_text(
        json.dumps({key: value for key, value in known.items() if key != "noise_files"})
    )
    ledger.begin(config, [other])  # a grid of version 0.1 does not tell


def test_grid_without_a_terminal_says_at_once_what_it_trains_and_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = begun(tmp_path)
    ledger.add_result(CELLS[1], record(0.5))
    said: list[str] = []

    def train(cell: Cell) -> str | None:
        said.append(capsys.readouterr().out)
        return "ValueError: this loss fails."

    run_cells(CELLS, ledger, train, no_stop)
    assert said[0] == f"3 of 4 cells to train, 1 at a time; each writes {tmp_path}/CELL/log.jsonl\n"
    assert "to train" not in "".join(said[1:]) + capsys.readouterr().out


def test_grid_retries_a_cell_whose_line_was_cut_off(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    run_cells(CELLS, ledger, Training(tmp_path), no_stop)
    whole = (tmp_path / "results.jsonl").read_text()
    (tmp_path / "results.jsonl").write_text(whole[:-40])
    again = begun(tmp_path)
    training = Training(tmp_path)
    run_cells(CELLS, again, training, no_stop)
    assert training.trained == [CELLS[3]]
    assert (tmp_path / "results.jsonl").read_text() == whole


def test_failing_cell_is_written_down_and_does_not_stop_the_others(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    failures = run_cells(CELLS, ledger, Training(tmp_path, failing="ce"), no_stop)
    assert failures == dict.fromkeys([CELLS[0], CELLS[2]], "ValueError: this loss fails.")
    assert ledger.finished() == {CELLS[1], CELLS[3]}
    lines = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [(line["loss"], line["status"]) for line in lines] == [("ce", "failed")] * 2
    assert run_cells(CELLS, begun(tmp_path), Training(tmp_path), no_stop) == {}
    assert not (tmp_path / "failures.jsonl").exists()


def test_interrupted_grid_stops_what_runs_and_writes_nothing_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def train(cell: Cell) -> str:
        stopped.wait()
        return "stopped"

    monkeypatch.setattr(schedule, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, begun(tmp_path), train, stopped.set)
    assert not (tmp_path / "results.jsonl").exists()
    assert not (tmp_path / "failures.jsonl").exists()


def test_workers_outlive_cells_that_raise_or_are_killed(tmp_path: Path) -> None:
    pool = WorkerPool({}, tmp_path, command=[sys.executable, "-c", WORKER])
    try:
        said = {loss: pool.train(Cell(loss, "none", 0)) for loss in ("ce", "raises", "gce", "killed", "nce")}
    finally:
        pool.close()
    assert said["ce"] is None
    assert said["gce"] is None
    assert said["nce"] is None
    assert said["raises"] == "RuntimeError: out of memory"
    assert "SIGKILL" in str(said["killed"])
    assert "memory ran out" in str(said["killed"])


@pytest.mark.timeout(60)
def test_closing_the_pool_ends_a_cell_that_is_being_trained(tmp_path: Path) -> None:
    pool = WorkerPool({}, tmp_path, command=[sys.executable, "-c", WORKER], jobs=2)
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(pool.train(Cell("hangs", "none", 0))))
    thread.start()
    log = tmp_path / "logs" / "worker-0.log"
    while not (log.is_file() and "started" in log.read_text()):
        thread.join(0.02)
    pool.close()
    thread.join()
    assert answers[0] is not None
    assert pool.train(Cell("ce", "none", 0)) == "stopped"


def test_workers_take_the_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    devices = [worker_environment(number, 5, ["0", "3"])["CUDA_VISIBLE_DEVICES"] for number in range(5)]
    assert devices == ["0", "3", "0", "3", "0"]
    assert "OMP_NUM_THREADS" not in worker_environment(0, 1, [])
    assert int(worker_environment(0, 2, [])["OMP_NUM_THREADS"]) >= 1
