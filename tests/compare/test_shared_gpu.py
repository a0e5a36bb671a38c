"""Cells that share a GPU under NVIDIA's Multi-Process Service; the service itself is a stand-in here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid import shared_gpu as module
from jal_hf.runs.grid.cells import plan_cells
from jal_hf.runs.grid.compare import compare
from jal_hf.runs.grid.shared_gpu import PIPES, SharingError, shared_gpu
from jal_hf.runs.grid.workers import worker_environment


class Control:
    """A stand-in for nvidia-cuda-mps-control, which writes down how it was called and with which pipes."""

    def __init__(self, folder: Path, code: int) -> None:
        self.calls = folder / "calls"
        program = folder / module.CONTROL
        program.write_text(f'#!/bin/sh\necho "$1,$(cat),${PIPES}" >> {self.calls}\nexit {code}\n')
        program.chmod(program.stat().st_mode | stat.S_IEXEC)

    def seen(self) -> list[tuple[str, str, str]]:
        lines = self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []
        return [tuple(line.split(",")) for line in lines]  # type: ignore[misc]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    return _control(tmp_path, monkeypatch)


def _control(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0, probe: str = "") -> Control:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(PIPES, raising=False)
    monkeypatch.setattr(module, "USUAL_PIPES", folder / "none")
    monkeypatch.setattr(module, "PROBE", probe)
    return Control(folder, code)


def test_service_runs_for_the_time_of_the_block_with_pipes_of_its_own(control: Control) -> None:
    with shared_gpu("auto", 4, 1) as is_started:
        assert is_started
        pipes = os.environ[PIPES]
        assert Path(pipes).is_dir()
        assert worker_environment(3, 4, ["0"])[PIPES] == pipes
        assert control.seen() == [("-d", "", pipes)]
    assert control.seen()[1:] == [("", "quit", pipes)]
    assert PIPES not in os.environ
    assert not Path(pipes).exists()


def test_service_ends_when_the_block_fails(control: Control) -> None:
    with pytest.raises(KeyboardInterrupt), shared_gpu("auto", None, 1):
        raise KeyboardInterrupt
    assert [call[1] for call in control.seen()] == ["", "quit"]
    assert PIPES not in os.environ


@pytest.mark.parametrize(
    ("mode", "jobs", "devices"),
    [("off", 4, 1), ("auto", 1, 1), ("auto", 2, 2), ("auto", 4, 0), ("auto", None, 0)],
)
def test_service_is_left_alone_where_no_gpu_is_shared(
    mode: str, jobs: int | None, devices: int, control: Control
) -> None:
    with shared_gpu(mode, jobs, devices) as is_started:
        assert not is_started
    assert control.seen() == []


@pytest.mark.parametrize("how", ["variable", "daemon"])
def test_service_of_somebody_else_is_used_as_it_is(
    how: str, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv(PIPES, str(tmp_path))
    else:
        (tmp_path / "none").touch()
    with shared_gpu("auto", 4, 1) as is_started:
        assert not is_started
    assert control.seen() == []


def test_processes_take_turns_where_the_service_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _control(tmp_path, monkeypatch, code=3)
    with shared_gpu("auto", 4, 1) as is_started:
        assert not is_started
        assert PIPES not in os.environ
    assert "take turns on the GPU: nvidia-cuda-mps-control does not start (code 3)" in caplog.text
    with pytest.raises(SharingError, match=r"--mps on: .*does not start"), shared_gpu("on", 4, 1):
        pass


def test_service_nobody_can_connect_to_is_ended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    control = _control(tmp_path, monkeypatch, probe="raise SystemExit(1)")
    with shared_gpu("auto", 4, 1) as is_started:
        assert not is_started
    assert "no process can connect to it" in caplog.text
    assert [call[1] for call in control.seen()] == ["", "quit"]


def test_machine_without_the_service_says_so_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "_PLACES", ())
    monkeypatch.delenv(PIPES, raising=False)
    with shared_gpu("auto", 4, 1) as is_started:
        assert not is_started
    assert "comes with NVIDIA's driver" in caplog.text
    with pytest.raises(SharingError, match="--mps on"), shared_gpu("on", 1, 1):
        pass


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, on, off"), shared_gpu("yes", 1, 1):
        pass


@pytest.mark.parametrize(("jobs", "known"), [(None, 1), (1, 1), (5, 2), ("auto", None)])
def test_grid_asks_for_the_service_with_its_jobs(
    jobs: int | str | None, known: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe of --jobs auto and the cells run inside."""
    events: list[Any] = []

    @contextmanager
    def watched(mode: str, jobs: int | None, devices: int) -> Iterator[bool]:
        events.append((mode, jobs, devices))
        yield True
        events.append("end")

    def find_jobs(*_: Any) -> int:
        events.append("probe")
        return 2

    def run_cells(*_: Any, **__: Any) -> dict[Any, str]:
        events.append("cells")
        return {}

    for name, stand_in in (("shared_gpu", watched), ("find_jobs", find_jobs), ("run_cells", run_cells)):
        monkeypatch.setattr(f"jal_hf.runs.grid.compare.{name}", stand_in)
    config = RunConfig.from_recipe("digits", use_cpu=True)
    cells = plan_cells(["ce"], ["symmetric:0.4"], [0, 1])
    compare(config, cells, tmp_path / "grid", jobs=jobs, mps="on")
    assert events == [("on", known, 0), *(["probe"] if jobs == "auto" else []), "cells", "end"]
