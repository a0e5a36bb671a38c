"""Fixtures shared by all tests: no network, one thread count, and the optional folder of real data."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The tests' networks are tiny; threads that wait for each other cost more than they bring, most of all when busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _same_draws_in_every_run() -> None:
    """A test that draws without a seed of its own draws the same each time: none fails one run in a hundred."""
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _pictures_are_blank() -> Iterator[Callable[..., None]]:
    """Figures are made and saved, not drawn, which is most of a small training's time. `drawn` has them drawn."""
    from PIL import Image

    from jal_hf.analysis import style

    def blank(figure: Any, picture: Path, drawing: Path) -> None:
        Image.new("RGB", (8, 8)).save(picture)
        drawing.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')

    draw = style.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "render", blank)
        yield draw


@pytest.fixture(scope="module")
def drawn(_pictures_are_blank: Callable[..., None]) -> Iterator[None]:
    """Pictures as users have them, for a file of tests that looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jal_hf.analysis.style.render", _pictures_are_blank)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real datasets in the Hub's layout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("JAL_HF_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(
            f"no real data: {folder / 'data'} is absent; JAL_HF_SHARED names the folder that holds data/"
        )
    return folder


# Files whose tests neither train for long nor start another Python; `pytest -m unit` runs them in under a minute.
UNIT = (
    "losses/test_contract.py",
    "losses/test_draws.py",
    "losses/test_golden.py",
    "losses/test_inputs.py",
    "losses/test_references.py",
    "losses/test_soft_targets.py",
    "theory/",
    "noise/test_noise_draws.py",
    "noise/test_noise_files.py",
    "noise/test_noise_specs.py",
    "cli/test_completion.py",
    "compare/test_grid.py",
    "compare/test_planning.py",
    "compare/test_tables.py",
    "hub/test_model_card.py",
    "models/test_export.py",
    "runs/test_config.py",
    "training/test_parts.py",
    "training/test_raw_data.py",
)
NOT_UNIT = ("graph_breaks", "compiled")
MOST_WORKERS = 4


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Folders are shared out over processes file by file; single files stay in this one, which starts sooner."""
    if all(".py" in name for name in config.args):
        return 0
    config.option.dist = "loadfile"
    return min(
        MOST_WORKERS,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def pytest_collection_finish() -> None:
    """What is imported by now lives as long as the tests: each training collects garbage, and need not look there."""
    gc.collect()
    gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only the unit tests are asked for, other files are not even imported: that takes longer than the tests."""
    if config.option.markexpr == "unit" and collection_path.suffix == ".py":
        return not _place(collection_path).startswith(UNIT) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the unit tests by their file; one that is marked slow stays out."""
    for item in items:
        is_heavy = item.get_closest_marker("slow") or any(word in item.name for word in NOT_UNIT)
        if _place(item.path).startswith(UNIT) and not is_heavy:
            item.add_marker(pytest.mark.unit)


def _place(path: Path) -> str:
    """A test file's path below tests/, or nothing for one from elsewhere."""
    tests = ROOT / "tests"
    return path.relative_to(tests).as_posix() if tests in path.parents else ""
