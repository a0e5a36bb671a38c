"""Start a module or the program on two gloo processes, as `accelerate launch` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "examples" / "accelerate" / "cpu_2_processes.yaml"


def two_processes(*words: str, port: int) -> subprocess.Popen[str]:
    """`accelerate launch` with the example's configuration, in a process group of its own."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]
    return subprocess.Popen(
        [*launch, "--main_process_port", str(port), "-m", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
