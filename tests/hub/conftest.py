"""The local Hub and clients in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.local_hub import TOKEN, LocalHub

Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A fresh Hub."""
    with LocalHub() as running:
        yield running


def run_client(
    hub: LocalHub,
    folder: Path,
    source: str | list[str],
    *,
    token: str | None = TOKEN,
    home: str = "home",
    timeout: float = 270,
) -> subprocess.CompletedProcess[str]:
    """Run Python source, or `jal-hf` words, in a process that talks to the local Hub and works in `folder`."""
    words = ["-c", textwrap.dedent(source)] if isinstance(source, str) else ["-m", "jal_hf", *source]
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=hub.environment(folder / home, token),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture
def client(hub: LocalHub, tmp_path: Path) -> Client:
    """`run_client` on this test's Hub and folder; the process must end well and never print the token."""

    def run(source: str | list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        done = run_client(hub, tmp_path, source, **options)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
        assert TOKEN not in done.stdout + done.stderr, "the token stands in the output"
        return done

    return run
