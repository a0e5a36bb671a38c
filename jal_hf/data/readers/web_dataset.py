"""WebDataset folders and globs as splits.

The webdataset builder of `datasets` fails on class names in .cls files, on samples of mixed endings or without a
label, and on pipes, which it opens twice, so it is not used.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetsError

from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.readers.image_folder import split_folders
from jal_hf.data.readers.source import Source
from jal_hf.data.readers.tar_shards import is_pipe, iterate_tar

_ENDINGS = (".tar", ".tar.gz", ".tgz")


def tar_files(name: str) -> dict[str, list[str]]:
    """Shards by split: a glob or one file is `train`; in a folder, subfolder or file names say the split.

    Empty where nothing is a shard.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        by_folder = {
            split: sorted(map(str, _shards(folder))) for split, folder in split_folders(path).items()
        }
        if any(by_folder.values()):
            return {split: files for split, files in by_folder.items() if files}
        splits: dict[str, list[str]] = {}
        for shard in sorted(_shards(path)):
            start = shard.name.split(".")[0].split("-")[0].split("_")[0].lower()
            splits.setdefault(SPLIT_NAMES.get(start, "train"), []).append(str(shard))
        return splits
    if name.endswith(_ENDINGS) or (glob.has_magic(name) and ".t" in name):
        files = [str(path)] if path.exists() else sorted(glob.glob(str(path)))
        return {"train": files} if files else {}
    return {}


def _shards(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name.endswith(_ENDINGS)]


def read_web_dataset(
    name: str, files: dict[str, list[str]], *, streaming: bool, num_classes: int | None
) -> Source:
    """Splits with columns `image`, `label` and `key`.

    Shards that are files are passed over once for their labels, pixels unread; a named pipe cannot be, so its
    number of classes must be given.

    Raises:
        ValueError: a broken shard, or a pipe without `num_classes` or without `streaming`.
    """
    splits = {}
    is_text = any(_has_text_labels(paths) for paths in files.values())
    for split, paths in files.items():
        pipes = [path for path in paths if is_pipe(path)]
        if pipes and not (streaming and num_classes):
            raise ValueError(
                f"{pipes[0]!r} is a pipe: it is read once and may never end, so give streaming and "
                f"num_classes."
            )
        features = datasets.Features(
            {
                "image": datasets.Image(),
                "label": datasets.Value("string" if is_text else "int64"),
                "key": datasets.Value("string"),
            }
        )
        options: dict[str, list[Any]] = {"shards": paths, "is_text": [is_text] * len(paths)}
        if streaming:
            splits[split] = datasets.IterableDataset.from_generator(
                _rows, features=features, gen_kwargs=options
            )
        else:
            # Size and time of change make the datasets cache notice a shard that was written again.
            options["state"] = [f"{os.stat(path).st_size}-{os.stat(path).st_mtime_ns}" for path in paths]
            splits[split] = _cached(name, features, options)
    return Source(name, splits)


def _cached(name: str, features: datasets.Features, options: dict[str, list[Any]]) -> datasets.Dataset:
    try:
        return datasets.Dataset.from_generator(_rows, features=features, gen_kwargs=options)
    except DatasetsError as error:
        raise ValueError(f"The tar shards {name!r} cannot be read: {error.__cause__ or error}") from error


def _has_text_labels(paths: list[str]) -> bool:
    return any(
        isinstance(sample.label, str)
        for path in paths
        if not is_pipe(path)
        for sample in iterate_tar(path, with_images=False)
    )


def _rows(
    shards: list[str], is_text: list[bool], state: list[str] | None = None
) -> Iterator[Mapping[str, Any]]:
    for shard, as_text in zip(shards, is_text, strict=True):
        for sample in iterate_tar(shard):
            label = str(sample.label) if as_text and sample.label is not None else sample.label
            yield {
                "image": None if sample.image is None else {"bytes": sample.image, "path": sample.path},
                "label": label,
                "key": sample.key,
            }
