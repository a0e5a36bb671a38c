"""Each example runs, and learns in spite of the wrong labels."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plain_pytorch_example_beats_cross_entropy() -> None:
    main = example("plain_pytorch").main
    assert main("jal-ce") > main("ce") + 0.05


def test_accelerate_loop_example_learns() -> None:
    assert example("accelerate_loop").main() > 0.85


def test_stock_trainer_example_learns(tmp_path: Path) -> None:
    assert example("stock_trainer").main(str(tmp_path)) > 0.8


def test_jal_trainer_example_learns(tmp_path: Path) -> None:
    assert example("jal_trainer").main(str(tmp_path))["eval_accuracy"] == pytest.approx(0.95, abs=0.05)


@pytest.mark.slow
def test_protocol_benchmark_times_one_run_and_two_side_by_side(tmp_path: Path) -> None:
    script, figures = EXAMPLES / "benchmarks" / "protocol.py", tmp_path / "figures.json"
    words = ["--recipe", "digits", "--epochs", "2", "--jobs", "2", "--output", str(figures)]
    table = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, check=True
    ).stdout
    content = json.loads(figures.read_text())
    assert [run["images"] for run in [content["one"], *content["several"]]] == [2 * 1438] * 3
    assert f"2 runs side by side / one run: {content['ratio']:.2f}" in table


@pytest.mark.slow
def test_throughput_benchmark_times_the_loops_in_turns(tmp_path: Path) -> None:
    script, figures = EXAMPLES / "benchmarks" / "throughput.py", tmp_path / "figures.json"
    words = ["--recipe", "digits", "--steps", "4", "--warmup", "1", "--rounds", "2", "--output", str(figures)]
    subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=True)
    rates = json.loads(figures.read_text())["images_per_second"]
    assert len(rates) == 3
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in rates.values())


@pytest.mark.slow
def test_study_of_methods_chooses_a_setting_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    words = ["--recipe", "digits", "--settings", "plain,ema", "--noises", "symmetric:0.4", "--seeds", "0"]
    words += ["--num_train_epochs", "2", "--max_train_samples", "300", "--out", str(tmp_path / "study")]
    words += ["--figures"]
    scores = example("study_methods").main(words)
    lines = (tmp_path / "study" / "figures" / "results.jsonl").read_text().splitlines()
    trained = {(line["loss"], line.get("method", "plain")) for line in map(json.loads, lines)}
    choice = json.loads((tmp_path / "study" / "choice.json").read_text())
    assert choice["setting"] == max(scores, key=lambda name: scores[name])
    assert trained == {("ce", "plain"), ("jal-ce", "plain"), ("jal-ce", choice["method"])}
    assert example("study_methods").main(words) == scores


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_gpu_benchmark_measures_each_part_on_a_cpu_too() -> None:
    script = EXAMPLES / "benchmarks" / "gpu.sh"
    done = subprocess.run(
        ["sh", str(script), "--smoke"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    for what in (
        "waits for the device",
        "time of a step, ema+gate+twin",
        "slowest loss",
        "JALTrainer / plain loop",
        "whole protocol",
        "captured and eager",
    ):
        assert any(what in row for row in rows), what
    assert not [row for row in rows if "failed" in row or "took more" in row], done.stderr
