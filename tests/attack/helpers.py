"""The contract of every attack: a sentence and an exit code, nothing removed, nothing leaked, no traceback."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jal_hf.cli.main import main

TOKEN = "hf_AttackAttackAttackAttackAttack1234"
TINY = [
    "--max_train_samples",
    "64",
    "--max_eval_samples",
    "32",
    "--disable_tqdm",
    "true",
    "--eval_strategy",
    "no",
    "--logging_strategy",
    "no",
    "--save_strategy",
    "steps",
    "--save_steps",
    "1",
    "--save_total_limit",
    "9",
]
SENTENCE = "jal-hf: error: "
FAILED_CELL = "failed: "
"""What `compare` says of a cell of its grid, after the others have been trained."""


@dataclass(frozen=True)
class Outcome:
    """What a command answered."""

    code: int
    printed: str

    @property
    def sentence(self) -> str:
        said = next((mark for mark in (SENTENCE, FAILED_CELL) if mark in self.printed), None)
        return "" if said is None else self.printed[self.printed.rfind(said) :]


def first(count: int, cases: Sequence[Any]) -> list[Any]:
    """The first cases for every day, the others for the marked suite; a case of several values is a tuple."""
    marked = [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases[count:]
    ]
    return [*cases[:count], *marked]


def attack(*words: object, allowed: tuple[int, ...] = (0, 2)) -> Outcome:
    """Run a command in this process and hold it to the contract; an exception of the program passes through."""
    printed = io.StringIO()
    said = logging.StreamHandler(printed)
    logging.getLogger("jal_hf").addHandler(said)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            logging.getLogger("jal_hf").removeHandler(said)
    outcome = Outcome(code, printed.getvalue())
    assert code in allowed, outcome.printed[-2000:]
    assert "Traceback" not in outcome.printed
    assert TOKEN not in outcome.printed
    if code:
        assert len(outcome.sentence) > len(SENTENCE) + 10
        assert len(outcome.sentence) < 5000
    return outcome


def refused(*words: object) -> str:
    """The sentence of a command that must not do what it was asked."""
    return attack(*words, allowed=(2,)).sentence


def train(folder: Path, *words: object, allowed: tuple[int, ...] = (0,), steps: int = 3) -> Outcome:
    """A training of a few seconds."""
    return attack(
        "train", "digits", *TINY, "--max_steps", steps, "--output_dir", folder, *words, allowed=allowed
    )


def content(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder with its bytes, every link with its target."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.name != ".jal_hf.lock"
    }


def holding(folder: Path, secret: str) -> list[str]:
    """Files below a folder in which a text stands."""
    return sorted(
        name
        for name, found in content(folder).items()
        if isinstance(found, bytes) and secret.encode() in found
    )


def unfinished(run: Path, folder: Path, *, step: int = 2) -> Path:
    """A copy of a run as a kill after a step leaves it: no record, no later checkpoint."""
    shutil.copytree(run, folder)
    (folder / "run.json").unlink()
    for checkpoint in folder.glob("checkpoint-*"):
        if int(checkpoint.name.partition("-")[2]) > step:
            shutil.rmtree(checkpoint)
    return folder


def with_record(run: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a run, somebody else's by its place, with another record."""
    shutil.copytree(run, folder)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    changed = change(record)
    text = changed if isinstance(changed, str) else json.dumps(record if changed is None else changed)
    (folder / "run.json").write_text(text, encoding="utf-8")
    return folder
