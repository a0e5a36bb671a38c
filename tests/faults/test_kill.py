"""The documented kill test, in its small form."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "kill_test.py"


@pytest.fixture(scope="module")
def kill_test() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kills", [1, 9, 12, 50])
def test_every_kill_is_given_to_a_command(kills: int, kill_test: ModuleType) -> None:
    shares = kill_test.shares(kill_test.JOBS, kills)
    assert sum(shares) == kills
    assert all(shares) or kills < len(kill_test.JOBS)


def test_each_command_is_known_and_its_flags_too(kill_test: ModuleType, tmp_path: Path) -> None:
    from jal_hf.cli.flags import config_of_words
    from jal_hf.cli.main import COMMANDS

    names = {job.name.split()[0] for job in kill_test.JOBS}
    assert names == {"train", "compare", "audit", "tune", "noise", "finetune"}
    assert names <= set(COMMANDS)
    for words in (kill_test.TRAIN, kill_test.STREAM):
        assert config_of_words([*words.split()[1:], str(tmp_path)]).output_dir == tmp_path


def test_result_tells_any_other_byte(kill_test: ModuleType, tmp_path: Path) -> None:
    job = kill_test.JOBS[0]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(b"a")
    (tmp_path / "run" / "run.json").write_text('{"metrics": {"last": 1}, "training": {"seconds": 1}}')
    before = kill_test.result(job, tmp_path)
    (tmp_path / "run" / "run.json").write_text('{"metrics": {"last": 1}, "training": {"seconds": 2}}')
    assert kill_test.result(job, tmp_path) == before
    (tmp_path / "run" / "run.json").write_text('{"metrics": {"last": 2}, "training": {"seconds": 1}}')
    assert kill_test.result(job, tmp_path) != before


@pytest.mark.slow
@pytest.mark.timeout(1200)  # seconds on a free machine; the runs share two cores with others in CI
def test_killed_runs_end_with_the_result_of_the_uninterrupted_run(tmp_path: Path) -> None:
    words = ["--kills", "2", "--only", "train", "--output_dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "| `train` | 1 | 1 | 1 of 1 |" in done.stdout
    assert "| `train --streaming` | 1 | 1 | 1 of 1 |" in done.stdout
    assert "DIFFERENT" not in done.stdout
