"""`examples/docs/generated.py`, loaded by its path as a reader runs it."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "docs" / "generated.py"


@cache
def generated() -> ModuleType:
    """The module."""
    spec = importlib.util.spec_from_file_location("generated", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
