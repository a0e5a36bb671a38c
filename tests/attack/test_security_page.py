"""What the security page says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / ".github" / "SECURITY.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the page stays in the repository")


def named() -> list[str]:
    return re.findall(r"`([^`]+)`", PAGE.read_text(encoding="utf-8"))


def test_page_says_what_is_trusted_what_is_sent_and_the_way_of_the_token() -> None:
    titles = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert titles[:3] == ["What is trusted, and what is not", "What is sent, and where", "The token's way"]


def test_files_on_the_page_are_there() -> None:
    assert [name for name in named() if name.startswith("jal_hf/") and not (ROOT / name).is_file()] == []


def test_flags_on_the_page_are_flags() -> None:
    import argparse

    from jal_hf.cli.audit import add_arguments
    from jal_hf.runs.values import known_fields

    audit = argparse.ArgumentParser()
    add_arguments(audit)
    flags = {*known_fields(), *vars(audit.parse_args(["RUN"]))}
    assert [name for name in named() if name.startswith("--") and name.split()[0][2:] not in flags] == []


def test_files_that_stay_are_those_that_no_push_names() -> None:
    from jal_hf.hub import files

    assert {".jal_hf.json", "checkpoint-N/training_args.bin", "optimizer.pt"} <= set(named())
    sent = [*files._SHARED, *files._SHARED_PATTERNS, *files._MODEL, *files._STATE]
    assert not [name for name in sent if "training_args" in name or name.startswith(".")]
    assert [name for name in sent if name.endswith((".pt", ".bin", ".pkl"))] == [
        "optimizer.pt",
        "scheduler.pt",
    ]
