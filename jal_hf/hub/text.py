"""Text that users wrote, made safe for a card: nothing in it can start markup, close a block or run."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 200
# What Markdown reads as markup inside a line; HTML's own three are turned into entities instead.
# An underscore between two letters is no emphasis.
_MARKUP = re.compile(r"([\\`*\[\]|~$!#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z]))")


def clean(value: object, limit: int = LONGEST) -> str:
    """One line of printable text: no line breaks, control, format or surrogate characters; `?` when nothing
    is left.

    Args:
        limit: longest text in characters; more is cut and marked with an ellipsis.
    """
    line = " ".join(str(value).split())
    line = "".join(letter for letter in line if not unicodedata.category(letter).startswith("C"))
    line = " ".join(line.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return line or "?"


def plain(value: object, limit: int = LONGEST) -> str:
    """User text as it may stand in running Markdown or a table cell: shown as written, never read as markup.

    Links without brackets (https://, www., @) are broken up too, as the Hub would make them clickable.

    Args:
        limit: as of `clean`.
    """
    line = clean(value, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _MARKUP.sub(r"\\\1", line)
    return line.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def code(value: object) -> str:
    """User text as a Markdown code span; a backtick or a bar, which would end the span or a table cell, is
    replaced.
    """
    return "`" + clean(value).replace("`", "'").replace("|", "¦") + "`"


def block(value: object, limit: int = 2000) -> str:
    """User text as the one line of a fenced code block; a line that would close the fence is pushed aside."""
    line = clean(value, limit)
    return f" {line}" if line.startswith(("```", "~~~")) else line


def percent(value: object) -> str:
    """A fraction in [0, 1] as `12.34 %`; a dash where there is none."""
    return f"{100 * value:.2f} %" if isinstance(value, int | float) else "-"
