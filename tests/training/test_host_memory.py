"""Freed memory that stays in the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from jal_hf.training.host_memory import keep_freed_memory

FAULTS = """
import resource, torch
from jal_hf.training.host_memory import keep_freed_memory
taken = keep_freed_memory() if {keep} else None
for _ in range(8):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory"
)


def faults(keep: bool) -> tuple[str, int]:
    """What `keep_freed_memory` said, and the page faults of four tensors of 64 MiB made one after another."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    taken, count = done.stdout.split()
    return taken, int(count)


@needs_glibc
def test_blocks_freed_in_one_step_are_not_fetched_from_the_kernel_again_in_the_next() -> None:
    _, before = faults(keep=False)
    kept = [faults(keep=True) for _ in range(3)]
    assert {taken for taken, _ in kept} == {"True"}
    assert before > 100  # transparent huge pages may make one fault of 512 of them
    # A kernel that takes idle pages back by itself may do so in between, though hardly in each of three processes.
    assert min(count for _, count in kept) < before / 10


@pytest.mark.parametrize("name", SETTINGS)
def test_glibcs_own_settings_win(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in SETTINGS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
