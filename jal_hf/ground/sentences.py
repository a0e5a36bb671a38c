"""Parts of the sentences that errors are made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: object, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """`" Did you mean 'x'?"` with the nearest of the known names, or nothing where none is near."""
    names = {str(name).lower(): str(name) for name in known}
    near = difflib.get_close_matches(str(given)[:200].lower(), list(names), n=most, cutoff=cutoff)
    return f" Did you mean {' or '.join(repr(names[name]) for name in near)}?" if near else ""


def listed(names: Iterable[object]) -> str:
    """`'a', 'b', 'c'`, or a word for none."""
    return ", ".join(repr(name) for name in names) or "none"


def shortened(text: object, most: int = 80) -> str:
    """Text as an error quotes it: at most `most` characters."""
    shown = str(text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def counted(number: float, noun: str) -> str:
    """A number and its noun: `1 row`, `2,000 rows`, `1 lost class`, `3 lost classes`."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:{',' if isinstance(number, int) else ',g'}} {noun}{ending}"


def printable(text: object) -> str:
    """Text from anywhere as it may go to a terminal: what would command it is shown as its escape, line ends too."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def percent(share: float | None) -> str:
    """A share of 1 as `12.34 %`, or a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"
