"""One training a folder: a lock that ends with its process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

LOCK = ".jal_hf.lock"
_held: dict[Path, int] = {}


def is_held_here(folder: Path) -> bool:
    """Whether this thread holds the folder already."""
    return _held.get(folder.resolve()) == threading.get_ident()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder against a second training; inside a block that holds it already, nothing more is done.

    Raises:
        FileExistsError: Another process trains there.
    """
    if is_held_here(folder):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileExistsError(
            f"Another process is training in {folder}. Wait for it, or choose another folder."
        ) from error
    except NotImplementedError:
        logger.warning(
            "The file system of %s has no locks: take care that only one run trains there.", folder
        )
    _held[folder.resolve()] = threading.get_ident()
    try:
        yield
    finally:
        del _held[folder.resolve()]
        lock.release()
