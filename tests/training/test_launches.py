"""How many operators a training step asks the device for, and how often it waits for it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"

# 388 before the L1 decay, the optimizer and the guard took all tensors at once; the plain loop takes 397.
MOST_OPERATORS = 250


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="examples/ is not part of this installation")
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_cifar10_step_dispatches_few_operators_and_never_waits_for_the_device(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    launches = importlib.import_module("launches")
    found = launches.count_all("cifar10", 8, precision, str(tmp_path))
    plain, bare, ours = found.values()
    assert ours.a_step <= MOST_OPERATORS
    assert ours.host_reads == 0
    # The count sees what the loops do: a plain loop's meter waits for the device every step.
    assert plain.host_reads >= 1
    assert ours.a_step < bare.a_step < plain.a_step
