"""`datasets.load_dataset`, with what can go wrong said in one sentence."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import yaml
from datasets.exceptions import DatasetsError

from jal_hf.data.readers.source import Splits


def load_files(name: str, form: str, files: Mapping[str, Path], **options: Any) -> Splits:
    """Splits of local files in a form that a builder of `datasets` reads; see `load`."""
    names = {split: glob.escape(str(path)) for split, path in files.items()}
    return load(name, form, data_files=names, **options)


def load(name: str, target: str, config: str | None = None, **options: Any) -> Splits:
    """Splits of a Hub dataset, a folder, or files of one form; no code of the dataset is run.

    Args:
        name: as the user gave it, for messages.
        target: what `load_dataset` takes.
        config: configuration of a Hub dataset.
        options: further arguments of `load_dataset`.

    Raises:
        FileNotFoundError: no such dataset.
        ValueError: it is there but cannot be read.
    """
    folder = Path(target)
    if (folder / "README.md").is_file():
        options.setdefault("cache_dir", _cache_of(folder))
    try:
        loaded: Splits = datasets.load_dataset(target, config, **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"The dataset {name!r} was not found: {first_line(error)}") from error
    except yaml.YAMLError as error:
        raise ValueError(
            f"The README.md of the dataset {name!r} begins with lines that are no YAML: {first_line(error)}. Correct "
            "them, or take away what stands between its two lines of dashes."
        ) from error
    except (DatasetsError, ValueError, OSError, RuntimeError, KeyError, pa.ArrowException) as error:
        # The reason of a failed build stands in the error behind it.
        reason = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        raise ValueError(f"The dataset {name!r} cannot be read: {first_line(reason)}") from error
    return loaded


def _cache_of(folder: Path) -> str:
    """Where `datasets` caches the rows of a folder as it is now.

    A folder whose README.md lists its files is known to `datasets` by that list and its name alone: rows of another
    folder of the name, or of the same one before it was written anew, would be taken for its own.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.resolve().rglob("*")):
        facts = path.lstat()
        digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return str(Path(datasets.config.HF_DATASETS_CACHE) / "folders" / digest.hexdigest()[:32])


def first_line(error: BaseException) -> str:
    """The beginning of an error's text, on one line."""
    text = str(error).strip()
    shown = " ".join(text.split("\n\n")[0].split())[:500]
    return shown or type(error).__name__
