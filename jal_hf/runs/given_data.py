"""Data that is handed over from Python: a name goes into the run's config, an object beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import datasets

from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.runs.values import Values


def beside_config(data: Any, changes: Values) -> tuple[Any, dict[str, Any]]:
    """(the dataset object or None, the changes that a config can hold).

    Data of one's own gets no noise unless it is asked for, and a stream is trained on as one.

    Args:
        data: An object, a name or a path; None leaves it to `changes["dataset"]`, which may be an object too.
        changes: By flag name of `jal-hf train`.

    Raises:
        ValueError: Data was given twice.
    """
    named = changes.get("dataset")
    if data is not None and named is not None:
        raise ValueError("The data was given twice, both as data and as dataset; give it once.")
    if data is None and (named is None or isinstance(named, str | os.PathLike)):
        return None, dict(changes)
    data = named if data is None else data
    if isinstance(data, str | os.PathLike):
        return None, {"noise": "none", **changes, "dataset": str(data)}
    splits = data.values() if isinstance(data, Mapping) else [data]
    is_stream = any(isinstance(split, datasets.IterableDataset) for split in splits)
    streaming = {"streaming": True} if is_stream else {}
    return data, {"noise": "none", **streaming, **changes, "dataset": DATASET_OBJECT}
