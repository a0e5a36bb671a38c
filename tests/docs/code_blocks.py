"""The code blocks of a page: found, run in order in one folder, and compared with the output that the page prints.

A comment right above a block says how to treat it:
`<!-- output -->` above a text block: what the block before it prints; `...` stands for anything. With
`<!-- output, numbers within 5 -->` or `within 15 %` they may differ by so much from machine to machine.
`<!-- tested with: --max_steps 3 -->`: flags added to the `jal-hf` lines of the block, so that a test is short.
`<!-- not run: REASON -->`: the block is shown alone; the tests list every such block.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jal_hf.cli.main import main as jal_hf_main

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PIECES = re.compile(rf"({_NUMBER.pattern}|\.\.\.)")
_TRAINING = "train|compare|finetune|tune"


@dataclass(frozen=True)
class Block:
    """A fenced block; `note` is the comment above it."""

    language: str
    code: str
    note: str

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "bash") and not self.note.startswith("not run:")

    @property
    def is_shown_alone(self) -> bool:
        return self.language in ("python", "bash") and not self.is_run

    @property
    def is_output(self) -> bool:
        return self.note.startswith("output")


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(found[2], found[3], found[1] or "") for found in _BLOCK.finditer(text)]


def write_programs(folder: Path) -> Path:
    """`jal-hf`, `python` and `accelerate` of the running interpreter, whatever the machine's path says.

    `JAL_HF_DOCS_FLAGS` are flags that every training command of a block gets on top.
    """
    folder.mkdir()
    python = shlex.quote(sys.executable)
    programs = {
        "jal-hf": f'case "$1" in {_TRAINING}) exec {python} -m jal_hf "$@" $JAL_HF_DOCS_FLAGS;; esac\n'
        f'exec {python} -m jal_hf "$@"',
        "python": f'exec {python} "$@"',
        "accelerate": f'exec {python} -m accelerate.commands.accelerate_cli "$@" $JAL_HF_DOCS_FLAGS',
    }
    for name, lines in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)
    return folder


@contextlib.contextmanager
def reader(folder: Path) -> Iterator[dict[str, str]]:
    """A reader's seat: an empty folder with the examples beside it; the environment of their shell."""
    (folder / "examples").symlink_to(ROOT / "examples")
    environment = {
        **os.environ,
        "PATH": f"{write_programs(folder / '.programs')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JAL_HF_DOCS_FLAGS": "",
    }
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield environment
    finally:
        os.chdir(before)


def run_block(block: Block, names: dict[str, Any], environment: dict[str, str]) -> str:
    """What the block prints. A block that fails fails the test, with its code."""
    if block.language == "python":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.code, "<block>", "exec"), names)
        return printed.getvalue()
    flags = block.note.removeprefix("tested with:").strip() if block.note.startswith("tested with:") else ""
    return "".join(run_command(line, flags, environment) for line in commands_of(block.code))


def commands_of(code: str) -> list[str]:
    """The command lines of a bash block, continued lines joined; the whole block where it holds a here-document."""
    if "<<" in code:
        return [code]
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip()]


def run_command(line: str, flags: str, environment: dict[str, str]) -> str:
    """What one command line prints. A plain `jal-hf` line runs in this process, which has imported everything."""
    if line.startswith("jal-hf ") and not re.search(r"[|;&<>$`]", line):
        words = shlex.split(line, comments=True)[1:]
        extra = shlex.split(flags) if words[0] in _TRAINING.split("|") else []
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = jal_hf_main([*words, *extra])
        shown, errors = printed.getvalue(), ""
    else:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            capture_output=True,
            text=True,
            env={**environment, "JAL_HF_DOCS_FLAGS": flags},
        )
        code, shown, errors = done.returncode, done.stdout, done.stderr
    assert code == 0, f"{line}\n{shown[-2000:]}\n{errors[-3000:]}"
    return shown


def run_page(page: Path, folder: Path) -> int:
    """Run a page's blocks in order; returns how many outputs were compared."""
    names: dict[str, Any] = {"__name__": "__main__"}
    compared, printed = 0, ""
    with reader(folder) as environment:
        for block in blocks_of(page):
            if block.is_run:
                printed = run_block(block, names, environment)
            elif block.is_output:
                assert agrees(block, printed), (
                    f"the page prints\n{block.code}\nbut the block prints\n{printed}"
                )
                compared += 1
    return compared


def agrees(block: Block, printed: str) -> bool:
    """Whether the printed text is the page's, `...` and the tolerance of numbers aside."""
    within = re.fullmatch(r"output, numbers within (\S+?)( %)?", block.note)
    assert within or block.note == "output", f"unknown note: {block.note}"
    tolerance = float(within[1]) if within else 0.0
    pieces = _PIECES.split(_lines(block.code))
    pattern = "".join(_pattern(piece, tolerance) for piece in pieces)
    found = re.fullmatch(pattern, _lines(printed))
    if found is None:
        return False
    wanted = [float(piece) for piece in pieces if _NUMBER.fullmatch(piece)]
    pairs = zip(wanted, map(float, found.groups()), strict=True) if tolerance else ()
    is_relative = within is not None and within[2] is not None
    return all(
        abs(number - shown) <= (tolerance * number / 100.0 if is_relative else tolerance)
        for number, shown in pairs
    )


def _pattern(piece: str, tolerance: float) -> str:
    if piece == "...":
        return r"[\s\S]*?"
    return rf"({_NUMBER.pattern})" if tolerance and _NUMBER.fullmatch(piece) else re.escape(piece)


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
