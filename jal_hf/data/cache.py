"""Where decoded images are kept."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import stat
import tempfile
import uuid
from pathlib import Path

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Folder of the decode-once cache: `JAL_HF_CACHE`, else `jal_hf` in `HF_HOME`, else in the user's cache folder.

    It holds only what can be made again; deleting it is always safe. Where it cannot be written, a folder for temporary
    files takes its place.
    """
    if named := os.environ.get("JAL_HF_CACHE"):
        return Path(os.path.expanduser(named))
    if base := os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME"):
        return Path(os.path.expanduser(base)) / "jal_hf"
    try:
        return Path.home() / ".cache" / "jal_hf"
    except RuntimeError:  # a user without a home
        return private_folder()


@functools.cache
def private_folder() -> Path:
    """A folder for temporary files that nobody else can write to, the same one for all processes where it can be."""
    number = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"jal_hf-{number}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        is_own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == number
        if is_own and not stat.S_IMODE(facts.st_mode) & 0o077:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="jal_hf-"))


def writable_folder(kind: str) -> Path:
    """The folder of the cache for entries of a kind, or one in `private_folder` where nothing can be written there."""
    folder = cache_folder() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        own = private_folder() / kind
        own.mkdir(parents=True, exist_ok=True)
        _say(folder, own, error.strerror or str(error))
        return own


def new_file(folder: Path) -> Path:
    """An empty file that `kept` gives its name; others may read it as far as the user's umask says."""
    path = folder / f"{uuid.uuid4().hex}.part"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def kept(temporary: Path, target: Path) -> Path:
    """Give a file its name in one step; where another user's stands there, the file goes to `private_folder`."""
    try:
        return temporary.replace(target)
    except PermissionError as error:
        own = private_folder() / target.parent.name
        own.mkdir(parents=True, exist_ok=True)
        _say(target, own, error.strerror or str(error))
        moved = own / temporary.name
        shutil.move(temporary, moved)
        return moved.replace(own / target.name)


@functools.cache
def _say(place: Path, own: Path, reason: str) -> None:
    logger.warning(
        "The cache of decoded images cannot be written at %s (%s), so they are kept in %s. Name another folder with "
        "JAL_HF_CACHE.", place, reason, own,
    )  # fmt: skip
