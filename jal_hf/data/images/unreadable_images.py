"""Unreadable images: find them once, beforehand, and leave them out."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np

from jal_hf.data.cache import cache_folder, kept, new_file, writable_folder
from jal_hf.data.column_values import rows_text
from jal_hf.data.images.decoding import open_image
from jal_hf.data.images.encoded import content_key, iterate_encoded
from jal_hf.data.progress import progress_line
from jal_hf.ground.image_files import MOST_UNREADABLE, Encoded, UnreadableImageError


def without_unreadable(split: datasets.Dataset, image_column: str, name: str) -> tuple[datasets.Dataset, int]:
    """The split without unreadable images, and how many there were.

    Every image is decoded once; the answer is kept in the cache by content.

    Raises:
        ValueError: more than 5 % are unreadable.
    """
    bad = _unreadable(split, image_column)
    if len(bad) > MOST_UNREADABLE * len(split):
        raise ValueError(
            f"{len(bad)} of {len(split)} images of split {name!r} are unreadable ({rows_text(bad)}), more "
            f"than "
            f"{MOST_UNREADABLE:.0%}; skipping so many would hide a broken dataset."
        )
    if not bad:
        return split, 0
    return split.select(np.setdiff1d(np.arange(len(split)), bad)), len(bad)


def _unreadable(split: datasets.Dataset, image_column: str) -> list[int]:
    """Positions of the images that cannot be decoded."""
    name = f"{content_key(split, image_column)}.json"
    if (known := _known(cache_folder() / "unreadable" / name)) is not None:
        return known
    folder = writable_folder("unreadable")
    if (known := _known(folder / name)) is not None:
        return known

    def is_bad(encoded: Encoded | None) -> bool:
        try:
            open_image(encoded, 3, 0)
        except UnreadableImageError:
            return True
        return False

    bad: list[int] = []
    position = 0
    progress = progress_line(len(split), "checking images", "image")
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool, progress:
        for block in iterate_encoded(split, image_column):
            bad += [position + offset for offset, wrong in enumerate(pool.map(is_bad, block)) if wrong]
            position += len(block)
            progress.update(len(block))
    _write(folder / name, json.dumps({"rows": len(split), "unreadable": bad}))
    return bad


def _known(record: Path) -> list[int] | None:
    """What was found before; None where nothing is known, or it cannot be read."""
    try:
        return [int(position) for position in json.loads(record.read_text(encoding="utf-8"))["unreadable"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, text: str) -> None:
    temporary = new_file(path.parent)
    try:
        temporary.write_text(text, encoding="utf-8")
        kept(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
