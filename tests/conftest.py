"""Fixtures shared by all tests: no network, one thread count, and the optional folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

# The tests' networks are tiny; threads that wait for each other cost more than they bring, most of all when busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real datasets in the Hub's layout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("JAL_HF_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(
            f"no real data: {folder / 'data'} is absent; JAL_HF_SHARED names the folder that holds data/"
        )
    return folder
