"""A process of several ends with code 0 once its work is done."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.distributed.launch import ROOT
from tests.distributed.ports import free_port

# Without the wait 5 of 27 launches left an aborted process.
LAUNCHES = 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_end_with_code_0_right_after_a_collective() -> None:
    codes = []
    for _ in range(LAUNCHES):
        shared = {
            **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2",
            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        both = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.distributed.last_collective"],
                env={**shared, "RANK": str(rank)},
                cwd=ROOT,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(2)
        ]
        codes += [process.wait(timeout=120) for process in both]
    assert codes == [0] * (2 * LAUNCHES)
