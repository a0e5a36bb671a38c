"""Where decoded images are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder of the decode-once cache: `JAL_HF_CACHE`, else `jal_hf` in the user's cache folder.

    It holds only what can be made again; deleting it is always safe.
    """
    if named := os.environ.get("JAL_HF_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jal_hf"
