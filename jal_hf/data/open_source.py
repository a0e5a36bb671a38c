"""Find out what a dataset name means and read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.exceptions import DatasetsError

from jal_hf.data.digits import load_digits
from jal_hf.data.source import Source

_READERS_BY_ENDING = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
}


def open_source(dataset: Any, config: str | None = None, *, streaming: bool = False) -> Source:
    """Read a dataset from wherever its name points to; no code of the dataset is ever run.

    Args:
        dataset: `digits`, a Hub id, a local folder or file, or a loaded dataset object.
        config: configuration name of a Hub dataset.
        streaming: rows come as they are read.

    Raises:
        FileNotFoundError: no such folder, file or Hub dataset.
        ValueError: it is there but cannot be read; the sentence says why.
    """
    if not isinstance(dataset, str | Path):
        return _from_object(dataset)
    name = str(dataset)
    if name == "digits":
        splits: Any = load_digits()
        if streaming:
            splits = {key: split.to_iterable_dataset() for key, split in splits.items()}
        return Source(name, splits)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path, config, streaming)
    if path.is_file():
        return _from_file(name, path, streaming)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or not name.strip():
        raise FileNotFoundError(
            f"There is no folder or file {name!r}. A dataset is a local path, a Hub id such as "
            f"'uoft-cs/cifar10', or "
            "the built-in 'digits'."
        )
    return Source(name, _load(name, name, config, streaming))


def _from_object(dataset: Any) -> Source:
    if isinstance(dataset, datasets.Dataset | datasets.IterableDataset):
        dataset = {"train": dataset}
    if isinstance(dataset, Mapping) and dataset:
        return Source("dataset given as an object", dict(dataset))
    raise ValueError(
        f"A dataset is a name, a path or a Hugging Face dataset, not {type(dataset).__name__}; see --dataset."
    )


def _from_folder(name: str, path: Path, config: str | None, streaming: bool) -> Source:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved_to_disk(name, path, streaming)
    return Source(name, _load(name, str(path), config, streaming))


def _saved_to_disk(name: str, path: Path, streaming: bool) -> Source:
    try:
        loaded = datasets.load_from_disk(str(path))
    except (DatasetsError, OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"The dataset saved in {name!r} cannot be read: {error}") from error
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    if streaming:
        splits = {key: split.to_iterable_dataset() for key, split in splits.items()}
    return Source(name, splits)


def _from_file(name: str, path: Path, streaming: bool) -> Source:
    reader = _READERS_BY_ENDING.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"The file {name!r} is of no kind that holds a dataset; a single file may be "
            f"{', '.join(sorted(_READERS_BY_ENDING))}, or give a folder."
        )
    return Source(name, _load(name, reader, None, streaming, data_files={"train": str(path)}))


def _load(name: str, target: str, config: str | None, streaming: bool, **options: Any) -> Mapping[str, Any]:
    """`datasets.load_dataset`, with what can go wrong said in one sentence."""
    try:
        loaded: Mapping[str, Any] = datasets.load_dataset(target, config, streaming=streaming, **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"The dataset {name!r} was not found: {_first_line(error)}") from error
    except (DatasetsError, ValueError, OSError, RuntimeError, KeyError, pa.ArrowException) as error:
        # The reason of a failed build stands in the error behind it.
        reason = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        raise ValueError(f"The dataset {name!r} cannot be read: {_first_line(reason)}") from error
    return loaded


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    shown = " ".join(text.split("\n\n")[0].split())[:500]
    return shown or type(error).__name__
