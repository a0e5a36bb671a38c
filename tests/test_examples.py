"""Each example runs, and learns in spite of the wrong labels."""

from __future__ import annotations

import importlib.util
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
