"""The examples in the docstrings of losses and theory run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import jal_hf.losses
import jal_hf.theory

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (jal_hf.losses, jal_hf.theory)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", ["jal_hf.losses", *MODULES])
def test_docstring_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_importing_the_losses_loads_no_training_library() -> None:
    code = (
        "import sys, jal_hf.losses; "
        "sys.exit(any(name in sys.modules for name in ('transformers', 'datasets', 'timm', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
