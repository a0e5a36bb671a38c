"""Cells side by side: worker processes, each training one cell after another with its data kept loaded.

A cell that fails takes its process with it, whatever the failure was, and leaves the other cells alone. Pools of
the standard library and loky give up the whole pool when one process is killed, and cannot end one in a cell.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import torch

from jal_hf.ground.record import RECORD
from jal_hf.runs.completion import finish_folder
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import Cell, cell_config, registering_modules
from jal_hf.runs.grid.ledger import GridLedger
from jal_hf.runs.parts import load_data
from jal_hf.runs.run import push_what_is_left, run_training

WORKER = (sys.executable, "-m", "jal_hf", "compare", "--worker")
"""The command of a worker, the grid's folder after it. It reads cells on its input and answers on its output."""

_ERROR = re.compile(r"^(?:jal-hf: error: |(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b).*")


def cuda_devices() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def worker_environment(number: int, jobs: int, devices: Sequence[str]) -> dict[str, str]:
    """Environment of one worker: a CUDA device in turn, or its share of the processor's cores."""
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    elif jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return environment


def worker_settings(config: RunConfig, cells: Sequence[Cell]) -> dict[str, Any]:
    """What a worker needs for these cells: the shared config, and what registered the parts of one's own in them."""
    return {
        "config": config.to_dict(),
        "secrets": dict(config.secrets),
        "modules": registering_modules(config, cells),
        "search_path": [str(place) for place in sys.path],
    }


class WorkerPool:
    """`jobs` worker processes, started when they are needed and replaced when a cell ends one.

    Args:
        config: From `worker_settings`; it goes to a worker's standard input, tokens included, and to no file.
        folder: The grid's folder; what a cell prints goes to `logs/CELL.log` in it.
        jobs: How many work side by side.
        devices: CUDA devices, given to the workers in turn; empty on a CPU.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        folder: str | Path,
        jobs: int = 1,
        devices: Sequence[str] = (),
        command: Sequence[str] = WORKER,
    ) -> None:
        self.config = config
        self.command = [*command, str(folder)]
        self.logs = Path(folder) / "logs"
        self.jobs = jobs
        self.devices = list(devices)
        self._idle: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._is_closed = False
        for number in range(jobs):
            self._idle.put(number)

    def train(self, cell: Cell) -> str | None:
        """Train one cell, waiting for it; returns None, or why it failed."""
        number = self._idle.get()
        try:
            return "stopped" if self._is_closed else self._train(number, cell)
        finally:
            self._idle.put(number)

    def close(self) -> None:
        """End all workers, also those in the middle of a cell."""
        self._is_closed = True
        for process in list(self._processes.values()):
            process.kill()
            process.wait()
        self._processes.clear()

    def _train(self, number: int, cell: Cell) -> str | None:
        process = self._processes.get(number) or self._start(number)
        stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        log = cell_log(self.logs.parent, cell)
        log.unlink(missing_ok=True)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(asdict(cell)) + "\n")
            stdin.flush()
        for answer in stdout:
            # Until the worker has moved its output to the log, a library may print between the answers.
            if answer.strip() == cell.folder:
                return None
        self._processes.pop(number, None)
        return _failure(process.wait(), [log, self._log(number)])

    def _start(self, number: int) -> subprocess.Popen[str]:
        self.logs.mkdir(parents=True, exist_ok=True)
        with self._log(number).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=worker_environment(number, self.jobs, self.devices),
                # Ctrl-C reaches this process only, which then ends the workers.
                start_new_session=True,
            )
        self._processes[number] = process
        with contextlib.suppress(BrokenPipeError):
            stdin = cast(IO[str], process.stdin)
            stdin.write(json.dumps(self.config) + "\n")
            stdin.flush()
        if self._is_closed:
            process.kill()
        return process

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"


def cell_log(folder: str | Path, cell: Cell) -> Path:
    """Where a cell's output goes."""
    return Path(folder) / "logs" / f"{cell.folder}.log"


def serve_grid(folder: str | Path) -> NoReturn:
    """A worker's life: read the shared config, train each cell named after it, and answer with its folder's name.

    It ends when its input ends, at once and in the middle of a cell too: then the grid was ended or killed,
    and nothing may go on writing in its folder.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        # Unbuffered: a buffer's lock, held by a waiting thread, would abort the interpreter's shutdown.
        with os.fdopen(os.dup(0), "rb", buffering=0) as asked:
            for line in iter(asked.readline, b""):
                lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    content = json.loads(lines.get())
    sys.path[:] = content["search_path"]
    for name in content["modules"]:
        importlib.import_module(name)
    trainer = CellTrainer(RunConfig.from_dict(content["config"]).replace(**content["secrets"]), folder)
    while True:
        cell = Cell(**json.loads(lines.get()))
        _print_to(cell_log(folder, cell))
        trainer(cell)
        print(cell.folder, file=answers, flush=True)


class CellTrainer:
    """Trains cells one after another; the data stays loaded while noise and seed stay the same."""

    def __init__(self, shared: RunConfig, out: str | Path) -> None:
        self.shared = shared
        self.out = out
        self._key: tuple[Any, ...] | None = None
        self._data: Any = None

    def __call__(self, cell: Cell) -> None:
        config = cell_config(self.shared, cell, self.out)
        if (config.output_dir / RECORD).is_file():
            # Ended after training, by a kill or by a push that failed, before the result was written down.
            finish_folder(config.output_dir)
            push_what_is_left(config)
            return
        run_training(config, data=self._loaded(config))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _loaded(self, config: RunConfig) -> Any:
        key = (*dataclasses.astuple(config.data), config.seed)
        if key != self._key:
            data = load_data(config)
            GridLedger(self.out).refuse_changed_data(config.seed, data.fingerprint)
            self._key, self._data = key, data
        return self._data


def _print_to(log: Path) -> None:
    """From now on all output of this process, that of C code included, goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _failure(code: int, logs: Sequence[Path]) -> str:
    """One sentence on why a worker ended: its error message, or the signal that ended it."""
    if code < 0:
        reason = "most often because memory ran out" if code == -signal.SIGKILL else "which is a crash"
        return f"The process was ended by {signal.Signals(-code).name}, {reason}."
    for log in logs:
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if _ERROR.match(line)]
        if errors or lines:
            return (errors or lines)[-1].removeprefix("jal-hf: error: ")
    return f"The process ended with code {code} and said nothing."
