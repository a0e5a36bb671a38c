"""The one progress line of all long work: after a second, seldom in a file, not at all when switched off."""

from __future__ import annotations

import sys
from typing import Any

from datasets.utils import tqdm

DELAY = 1.0
"""Seconds after which a line appears: what is over sooner shows none."""
SELDOM = 30.0
"""Seconds between updates in a file, where each is a line of its own."""


def progress_line(total: int | None, what: str, unit: str, **options: Any) -> Any:
    """A tqdm bar on stderr, which `datasets.disable_progress_bars()` switches off.

    Args:
        total: Number of units in all; None where it is not known.
        what: Stands in front of the bar.
        unit: Name of what is counted.
        options: Further ones of tqdm.
    """
    pause = 0.1 if sys.stderr.isatty() else SELDOM
    return tqdm(total=total, desc=what, unit=unit, mininterval=pause, delay=DELAY, **options)
