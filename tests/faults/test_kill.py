"""The documented kill test, in its small form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)  # seconds on a free machine; the runs share two cores with others in CI
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the kill test forks its runs")
def test_killed_runs_end_with_the_weights_of_the_uninterrupted_run(tmp_path: Path) -> None:
    words = ["--kills", "5", "--epochs", "1", "--save_steps", "4", "--output_dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "kill_test.py"), *words],
        capture_output=True,
        text=True,
        timeout=560,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("random time") + done.stdout.count("in a save") == 5
    assert "DIFFERENT" not in done.stdout
    assert "sha256 equal" in done.stdout
