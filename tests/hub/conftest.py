"""The local Hub and clients in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.local_hub import TOKEN, LocalHub

Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A fresh Hub."""
    with LocalHub() as running:
        yield running


@pytest.fixture
def client(hub: LocalHub, tmp_path: Path) -> Client:
    """Runs Python source or `jal-hf` words in a process that talks to the local Hub."""

    def run(
        source: str | list[str],
        *,
        token: str | None = TOKEN,
        home: str = "home",
        check: bool = True,
        timeout: float = 240,
    ) -> subprocess.CompletedProcess[str]:
        words = ["-c", textwrap.dedent(source)] if isinstance(source, str) else ["-m", "jal_hf", *source]
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=hub.environment(tmp_path / home, token),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
        assert TOKEN not in done.stdout + done.stderr, "the token stands in the output"
        return done

    return run
