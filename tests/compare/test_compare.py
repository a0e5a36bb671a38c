"""`jal-hf compare` for real: killed in the middle, it goes on to the same table."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jal_hf.cli.compare import main
from jal_hf.cli.flags import config_of_words
from jal_hf.losses import registry as losses
from jal_hf.noise import registry as noises
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import Cell, cell_config, registering_modules
from jal_hf.runs.run import run_training
from jal_hf.training.methods import registry as methods

SHARED = ["digits", "--num_train_epochs", "2", "--precision", "fp32"]
GRID = ["--losses", "ce,jal-ce", "--noises", "symmetric:0.4", "--seeds", "0,1"]
TIMES = ("seconds", "images_per_second")

PARTS = """
from jal_hf.losses import CrossEntropyLoss, register_loss
from jal_hf.noise import noise_info, register_noise
from jal_hf.noise.symmetric import SymmetricNoise
from jal_hf.training.methods import Method, MethodInfo, register_method
from dataclasses import replace

@register_loss("ce-of-mine", summary="-", formula="-", citation="-")
class Mine(CrossEntropyLoss): ...

class Swap(SymmetricNoise): kind = "swap"

class Trim(Method): name = "trim"

symmetric = noise_info("symmetric")
register_noise(replace(symmetric, kind="swap", cls=Swap, build=lambda spec, k, names: Swap(0.2, k)))
register_method(MethodInfo("trim", Trim, "-"))
"""


def lines_of(path: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return {line["folder"]: {key: value for key, value in line.items() if key not in TIMES} for line in lines}


def processes_naming(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if str(folder) in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(entry.name))
    return found


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc")
def test_grid_killed_in_the_middle_goes_on_to_the_same_results(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [*SHARED, *GRID, "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "jal_hf", "compare", *command], stderr=subprocess.DEVNULL
    )
    unfinished = out / "jal-ce-symmetric-0.4-seed0" / "log.jsonl"
    while process.poll() is None and not unfinished.is_file():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines_of(out / "results.jsonl")
    assert 1 <= len(before) < 4
    deadline = time.monotonic() + 20
    while processes_naming(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_naming(out) == [], "a worker went on after the grid was killed"

    assert main(command) == 0
    after = lines_of(out / "results.jsonl")
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    for name in after:
        assert {"run.json", "README.md", "model.safetensors", "plots"} <= {
            p.name for p in (out / name).iterdir()
        }
    cell = Cell("jal-ce", "symmetric:0.4", 0)
    whole = run_training(cell_config(config_of_words(SHARED), cell, tmp_path / "whole")).record
    assert after[cell.folder]["accuracy"] == whole["metrics"]["last"]["accuracy"]
    assert after[cell.folder]["clean_accuracy"] == whole["metrics"]["train"]["clean_accuracy"]

    table = (out / "table.md").read_bytes()
    assert main(command) == 0
    assert (out / "table.md").read_bytes() == table


@pytest.mark.timeout(600)
def test_failing_cells_are_reported_and_the_others_stand_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    (out / "jal-ce-symmetric-0.4-seed0").mkdir(parents=True)
    (out / "jal-ce-symmetric-0.4-seed0" / "log.jsonl").mkdir()
    words = ["--losses", "ce,jal-ce", "--noises", "symmetric:0.4", "--seeds", "0", "--out", str(out)]
    assert main([*SHARED, *words]) == 1
    shown = capsys.readouterr()
    assert "jal-ce, symmetric:0.4, seed 0" in shown.err
    assert "it is left alone" in shown.err
    assert list(lines_of(out / "results.jsonl")) == ["ce-symmetric-0.4-seed0"]
    assert "| JAL-CE | failed" in (out / "table.md").read_text()


@pytest.mark.timeout(600)
def test_workers_know_what_an_imported_module_registered_and_a_script_is_told_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, name in ((losses, "_REGISTRY"), (noises, "_REGISTRY"), (methods, "_METHODS")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    (tmp_path / "parts_of_mine.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("parts_of_mine")
    words = ["--losses", "ce-of-mine", "--noises", "swap:0.2", "--methods", "trim", "--seeds", "0"]
    command = [*SHARED, "--max_train_samples", "100", *words, "--out", str(tmp_path / "grid")]
    for name in ("Mine", "Swap", "Trim"):
        part = getattr(module, name)
        with monkeypatch.context() as script:
            script.setattr(part, "__module__", "__main__")
            with pytest.raises(ValueError, match="registered in __main__, which the processes"):
                main(command)
    assert not (tmp_path / "grid").exists()
    joint = RunConfig.from_recipe("digits", loss_args={"active": {"name": "ce-of-mine"}, "passive": "mae"})
    assert registering_modules(joint, [Cell("joint", "none", 0)]) == ["parts_of_mine"]
    assert registering_modules(RunConfig.from_recipe("digits"), [Cell("nce+agce", "none", 0)]) == []
    assert main(command) == 0, capsys.readouterr().err
    assert [line["loss"] for line in lines_of(tmp_path / "grid" / "results.jsonl").values()] == ["ce-of-mine"]
