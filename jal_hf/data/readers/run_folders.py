"""Folders that this package wrote into a dataset's folder: runs, grids, searches and exports, which are no data."""

from __future__ import annotations

import os
from pathlib import Path

from jal_hf.ground.image_files import has_image_ending
from jal_hf.ground.record import RECORD

CHANGES = "changes.csv"
"""The list of what was changed, beside a cleaned dataset: no data itself."""

# As `runs/` names them: the marker of a run, its lock while its data is loaded, and what searches and grids keep.
_OF_RUN = (".jal_hf.json", ".jal_hf.lock", ".jal_hf_trial", RECORD)
_OF_GRID = ("grid.json", "study.db")
_WRITTEN = frozenset(("plots", "audit", "finetune", "logs"))
_LISTED = ("index,file,given,new,", "index,text,given,new,")


def holds_runs(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a run, grid, search or export, or holds such and no image outside them."""
    if any(os.path.isfile(os.path.join(folder, name)) for name in _OF_RUN) or _is_export(folder):
        return True
    subfolders = []
    has_image = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    subfolders.append(entry.path)
                elif has_image_ending(entry.name):
                    has_image = True  # as a class folder has
                    break
    except OSError:
        return False
    of_runs = [] if has_image else [subfolder for subfolder in subfolders if holds_runs(subfolder)]
    if not of_runs:
        return False
    others = [subfolder for subfolder in subfolders if subfolder not in of_runs]
    is_grid = any(os.path.isfile(os.path.join(folder, name)) for name in _OF_GRID)
    return is_grid or not any(map(_holds_image, others))


def _is_export(folder: str | os.PathLike[str]) -> bool:
    try:
        with open(os.path.join(folder, CHANGES), encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(_LISTED)
    except OSError:
        return False


def is_written_by_run(folder: Path) -> bool:
    """Whether a folder lies in that of a run, under a name that runs give."""
    is_named = folder.name in _WRITTEN or folder.name.startswith("checkpoint-")
    return is_named and any((folder.parent / name).is_file() for name in _OF_RUN)


def _holds_image(folder: str) -> bool:
    return any(has_image_ending(name) for _, _, files in os.walk(folder) for name in files)
