"""`compare --jobs auto`: how many cells side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from jal_hf.cli.compare import main
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid import side_by_side
from jal_hf.runs.grid.cells import Cell
from jal_hf.runs.grid.side_by_side import fastest, find_jobs, probed_rate

CELLS = [Cell("ce", "symmetric:0.4", seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("rates", "most", "expected"),
    [
        ({1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0}, 16, 4),
        ({1: 100.0, 2: 105.0}, 16, 1),
        ({1: 100.0, 2: 190.0, 4: None}, 16, 2),  # the third and fourth do not fit
        ({1: 100.0, 2: 190.0, 4: 380.0}, 6, 4),
        ({1: None}, 16, 1),
    ],
)
def test_doubling_ends_where_it_brings_less_than_a_tenth(
    rates: dict[int, float | None], most: int, expected: int
) -> None:
    assert fastest(rates.__getitem__, most) == expected


def test_on_a_cpu_auto_is_cores_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    config = RunConfig.from_recipe("digits")
    for threads, expected in (("1", 12), ("4", 3), ("100", 1), ("2,1", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert find_jobs(config, CELLS, []) == expected


def test_on_gpus_the_probe_of_one_counts_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {1: 100.0, 2: 190.0, 4: 200.0}
    monkeypatch.setattr(side_by_side, "probed_rate", lambda config, cell, jobs, devices: rates[jobs])
    assert find_jobs(RunConfig.from_recipe("digits"), CELLS, ["0", "1", "2"]) == 6


def test_probe_trains_the_cell_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "PROBE_STEPS", 14)
    config = RunConfig.from_recipe("digits", use_cpu=True, push_to_hub=True)  # which a probe must not do
    rate = probed_rate(config, CELLS[0], 2, [])
    assert rate is not None
    assert rate > 0
    assert probed_rate(config.replace(learning_rate=1e30), CELLS[0], 1, []) is None


def test_compare_takes_auto_and_refuses_other_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["digits", "--losses", "ce", "--noises", "symmetric:0.4", "--seeds", "0,1", "--use_cpu", "true"]
    words += ["--max_steps", "4", "--eval_strategy", "no", "--out", str(tmp_path / "grid")]
    with pytest.raises(ValueError, match="'auto'"):
        main([*words, "--jobs", "many"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main([*words, "--jobs", "auto"]) == 0
    assert len((tmp_path / "grid" / "results.jsonl").read_text().splitlines()) == 2
