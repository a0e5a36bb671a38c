"""Every code block of the README and the documentation runs and prints what the page says.

Two pages are run always; all of them by `python -m pytest tests/docs -m "slow or not slow"`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.code_blocks import ROOT, Block, agrees, blocks_of, run_page

DOCS = ROOT / "examples" / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FAST = ("theory.md", "how-to/own_loop.md")
NAMES = [page.relative_to(ROOT if page.parent == ROOT else DOCS).as_posix() for page in PAGES]

# What is shown and never run, and why; a new one needs its reason here as well as on its page.
NOT_RUN = {
    "README.md": Counter({"installs the package": 2}),
    "finetuning.md": Counter({"needs published weights": 2}),
    "how-to/advise.md": Counter({"needs a label file of your own": 1}),
    "how-to/leaderboard.md": Counter(
        {"needs a namespace on the Hub": 2, "needs a benchmark on the Hub": 1, "downloads the dataset": 1},
    ),
    "how-to/share.md": Counter(
        {"pushes to the Hub": 1, "reads a repository of yours from the Hub": 1},
    ),
    "reference/methods.md": Counter({"hours on a CPU": 1, "some minutes on a CPU": 1}),
    "results.md": Counter({"hours on a GPU": 1, "hours on a CPU": 4}),
    "tutorials/audit.md": Counter({"a person clicks on a page": 1}),
    "tutorials/compare.md": Counter({"hours on a GPU": 1}),
    "tutorials/hub_dataset.md": Counter(
        {"downloads the dataset": 1, "downloads the dataset, hours on a CPU": 1},
    ),
    "tutorials/many_gpus.md": Counter({"needs several GPUs": 1, "needs several machines": 1}),
    "tutorials/preemptible.md": Counter({"trains the recipe several times": 1}),
    "tutorials/pretrained.md": Counter({"downloads published weights": 2}),
    "tutorials/text.md": Counter({"downloads a model and a dataset": 1, "needs a pretrained encoder": 1}),
}


def has_code(page: Path) -> bool:
    return any(block.is_run for block in blocks_of(page))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow])
        for name, page in zip(NAMES, PAGES, strict=True)
        if has_code(page)
    ],
)
def test_blocks_of_page_run_and_print_what_it_says(name: str, tmp_path: Path) -> None:
    page = PAGES[NAMES.index(name)]
    outputs = sum(block.is_output for block in blocks_of(page))
    assert run_page(page, tmp_path) == outputs


def test_blocks_that_are_not_run_are_listed_with_their_reasons() -> None:
    found = {
        name: Counter(
            block.note.removeprefix("not run:").strip() for block in blocks_of(page) if block.is_shown_alone
        )
        for name, page in zip(NAMES, PAGES, strict=True)
    }
    assert {name: reasons for name, reasons in found.items() if reasons} == NOT_RUN


@pytest.mark.parametrize(("name", "page"), zip(NAMES, PAGES, strict=True), ids=NAMES)
def test_every_block_says_its_language_and_every_output_follows_code(name: str, page: Path) -> None:
    blocks = blocks_of(page)
    known = ("python", "bash", "text", "{toctree}", "{eval-rst}")
    assert [block.language for block in blocks if block.language not in known] == []
    assert len(re.findall(r"^```\S", page.read_text(encoding="utf-8"), re.MULTILINE)) == len(blocks)
    for before, block in itertools.pairwise(blocks):
        if block.is_output:
            assert before.is_run, f"{name}: an output stands below a block that is not run"
            assert block.code.strip()


@pytest.mark.parametrize(
    ("note", "expected", "printed", "same"),
    [
        ("output", "a 1\nb", "a 1\nb\n", True),
        ("output", "a 1\nb", "a 2\nb", False),
        ("output", "a\n...\nz", "a\nb 3\nc\nz", True),
        ("output", "a\n...\nz", "a\nb\nc", False),
        ("output, numbers within 5", "right: 90%", "right: 86.5%", True),
        ("output, numbers within 5", "right: 90%", "right: 84%", False),
        ("output, numbers within 5", "right: 90%", "wrong: 90%", False),
        ("output, numbers within 10 %", "553 and 0.5", "600 and 0.46", True),
        ("output, numbers within 10 %", "553 and 0.5", "600 and 0.4", False),
    ],
)
def test_output_agrees_only_within_what_the_page_allows(
    note: str, expected: str, printed: str, same: bool
) -> None:
    assert agrees(Block("text", f"{expected}\n", note), printed) is same
