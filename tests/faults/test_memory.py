"""A long run needs no more memory at its end than near its start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from jal_hf.cli.flags import config_of_words
from jal_hf.runs.parts import build_trainer, load_data


class ResidentMemory(TrainerCallback):
    """Notes this process's resident memory, in bytes, at chosen steps."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.steps = steps
        self.found: dict[int, int] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.steps:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.found[state.global_step] = pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_memory_stays_flat_over_3000_steps(tmp_path: Path) -> None:
    config = config_of_words(
        ["digits", "--max_steps", "3000", "--output_dir", str(tmp_path / "run"), "--disable_tqdm", "True"]
    )
    memory = ResidentMemory((300, 3000))
    trainer = build_trainer(config, load_data(config), callbacks=[memory])
    trainer.train()
    print({step: f"{size / 2**20:.1f} MiB" for step, size in memory.found.items()})
    assert memory.found[3000] < 1.05 * memory.found[300]
