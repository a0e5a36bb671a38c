"""A finished run to attack, and a Hub that must not be reached."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import pytest

from tests.attack.helpers import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps with a checkpoint after each; not to be changed."""
    folder = tmp_path_factory.mktemp("attack") / "run"
    train(folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is fetched or pushed, and relative paths lead nowhere else."""

    def reached(*_: object, **__: object) -> None:
        raise AssertionError("the Hub was asked")

    for name in ("create_repo", "create_commit", "upload_folder", "whoami"):
        monkeypatch.setattr(huggingface_hub.HfApi, name, reached)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", reached)
    monkeypatch.chdir(tmp_path)
