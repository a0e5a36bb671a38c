"""Text as wide as the screen: tables, paragraphs, docstrings."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from jal_hf.ground.sentences import printable

WIDTH = 80
"""Of a screen whose size is not known."""
WIDEST_HELP = 100
WIDE = 110
"""From so many columns on a table has room for all it knows."""
_ENTRY = re.compile(r"(- |\S+: )")


def screen_width() -> int:
    """Columns of the screen: COLUMNS, else the terminal's, else 80."""
    return max(40, shutil.get_terminal_size((WIDTH, 24)).columns)


def is_rich_terminal() -> bool:
    """Whether stdout is a terminal that shows colours and wants them (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table_text(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, whole: Sequence[str] = (), indent: str = ""
) -> str:
    """A table no wider than the screen, ruled where the terminal can, else plain text.

    Args:
        columns: Headings; without any text in them no heading is shown.
        rows: A row's cells in the order of `columns`.
        whole: Columns whose cells are never broken; the others wrap.
        indent: Stands before each line.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD if is_rich_terminal() else None,
        show_header=any(name.strip() for name in columns),
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for number, name in enumerate(columns):
        table.add_column(
            name,
            no_wrap=name in whole,
            overflow="fold",
            style="cyan" if number == 0 else None,
        )
    for row in rows:
        table.add_row(*(Text("\n".join(map(printable, str(cell).split("\n")))) for cell in row))
    return _rendered(table, indent)


def markdown_text(text: str) -> str:
    """Markdown as it stands, or drawn where the terminal can."""
    if not is_rich_terminal():
        return text
    from rich.markdown import Markdown

    return _rendered(Markdown(text))


def facts_text(facts: Sequence[tuple[str, object]], indent: str = "  ") -> str:
    """Names and what they are, one below the other."""
    return table_text(("", " "), facts, whole=("",), indent=indent)


def _rendered(thing: Any, indent: str = "") -> str:
    from rich.console import Console

    console = Console(
        width=screen_width() - len(indent),
        force_terminal=is_rich_terminal(),
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(thing)
    return "\n".join(f"{indent}{line}".rstrip() for line in capture.get().splitlines())


def filled(text: str, indent: str = "", hanging: str | None = None) -> str:
    """A paragraph no wider than the screen; what would command a terminal is shown as its escape."""
    return textwrap.fill(
        " ".join(map(printable, text.splitlines())),
        screen_width(),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_on_hyphens=False,
    )


def wrapped(text: str, indent: str = "  ") -> str:
    """Lines no wider than the screen, each where it stands; what is over goes on below, further in."""
    lines = []
    for line in text.splitlines():
        own = indent + _margin(line)
        lines.append(filled(line.strip(), own, f"{own}  "))
    return "\n".join(lines)


def reflowed(text: str, indent: str = "") -> str:
    """A docstring as wide as the screen: its paragraphs and `name: what it is` entries filled anew."""
    entries: list[str] = []
    is_open = False
    for line in text.splitlines():
        deeper = len(_margin(line)) - len(_margin(entries[-1])) if entries else 0
        starts = not is_open or deeper < 0 or (deeper == 0 and bool(_ENTRY.match(line.strip())))
        if line.strip() and not starts:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line.rstrip())
        is_open = bool(line.strip()) and not line.endswith(":")
    return "\n".join(
        filled(entry.strip(), indent + _margin(entry), _hanging(entry, indent)) for entry in entries
    )


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _hanging(entry: str, indent: str) -> str:
    is_entry = bool(_margin(entry)) and bool(_ENTRY.match(entry.strip()))
    return indent + _margin(entry) + ("    " if is_entry else "")
