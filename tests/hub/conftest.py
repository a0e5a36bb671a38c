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

CALLS = """
    import contextlib, io, json, os, time, urllib.request
    from pathlib import Path
    from jal_hf.cli.main import main

    told = {}

    def call(name, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
        told[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}

    def fault(kind, where):
        asked = json.dumps({"kind": kind, "where": where}).encode()
        address = os.environ["HF_ENDPOINT"] + "/_test/fault"
        urllib.request.urlopen(urllib.request.Request(address, asked, method="POST")).read()
"""
"""How a client's source begins: `call` runs a command and notes what it told, `fault` has the Hub fail once."""

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
