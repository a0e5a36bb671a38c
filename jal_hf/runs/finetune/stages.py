"""The stages of a fine-tuning on disk: what decides them, and whether a former call's can be taken up."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jal_hf.data import NoisyDatasetDict
from jal_hf.ground.files import read_object, write_json
from jal_hf.ground.record import RECORD
from jal_hf.runs.config import RunConfig
from jal_hf.runs.marker import is_marked, mark_folder, marked_paths
from jal_hf.runs.protocol import changed_setting

STAGES = "finetune"
_KEY = "key.json"

Contents = Mapping[str, npt.NDArray[np.uint64]]
"""Digests of each row's image or text, by split."""


def stages_key(config: RunConfig, data: NoisyDatasetDict, contents: Contents) -> str:
    """Digest of all that decides the stages before training; files of weights by size and time of change."""
    weights = config.model.weights
    status = os.stat(weights) if weights and Path(weights).is_file() else None
    content = [
        data.fingerprint,
        {name: hashlib.sha256(digests.tobytes()).hexdigest() for name, digests in contents.items()},
        data.noise_report.labels_sha256,
        len(data["train"]),
        vars(config.model),
        config.data.image_size,
        [config.data.image_mean, config.data.image_std, config.seed, config.data.val_fraction],
        None if status is None else [status.st_size, status.st_mtime_ns],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def refuse_foreign_stages(folder: Path) -> None:
    """Nothing is written or removed in a folder named like ours that no fine-tuning began."""
    stages = folder / STAGES
    is_ours = is_marked(folder) and (stages / _KEY).is_file()
    if stages.exists() and not is_ours and not (stages.is_dir() and not any(stages.iterdir())):
        raise FileExistsError(
            f"{folder} holds {STAGES}, and no fine-tuning of jal_hf was begun there, so it is left alone. Choose "
            "another --output_dir."
        )


def take_up(config: RunConfig, key: str, overwrite: bool) -> None:
    """Keep the stages of a former call with the same data and settings; else the folder's is begun anew, if it may be.

    The file with the key shows that the stages are ours, so it is there first and is never away.
    """
    folder, public = config.output_dir, config.published()
    notes = folder / STAGES / _KEY
    known = read_object(notes) if notes.is_file() else {}
    begun = known.get("settings")
    is_same = known.get("key") == key
    reason = "holds a run on other data, or with other settings"
    if is_same and isinstance(begun, Mapping):
        changed = changed_setting(public.values, public.asked, begun)
        is_same, reason = changed is None, f"holds a run with other settings: {changed} is asked for now"
    is_begun = notes.is_file() or (folder / RECORD).exists()
    if not is_same and is_begun and not overwrite:
        raise FileExistsError(
            f"{folder} {reason}. Choose another --output_dir, or pass --overwrite to replace it."
        )
    mark_folder(folder, marked_paths(folder))
    if overwrite or not is_same:
        write_json(notes, {"key": None})
        for path in notes.parent.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != notes:
                path.unlink()
    write_json(notes, {"key": key, "settings": public.to_dict()})
