"""Whether a run is gone on with: has it reached its end, and are settings and data those that it began with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.runs.config import OWN_DATA_RECIPE, RunConfig
from jal_hf.runs.fitted_training import FITTED_FIELDS
from jal_hf.runs.marker import marked_settings
from jal_hf.runs.protocol import BATCH_FIELDS, LENGTH_FIELDS, changed_setting

_DIGESTS = {"fingerprint": "images, file names or labels", "labels_sha256": "the labels"}


def has_reached(config: RunConfig) -> bool:
    """Whether `resume auto` was asked for a run that has reached the end that is asked for now.

    Raises:
        FileExistsError: It has, with other settings than the config's.
    """
    training = config.training
    folder = config.output_dir
    if training.get("resume_from_checkpoint") != "auto" or training.get("overwrite"):
        return False
    if not (folder / RECORD).is_file():
        return False
    record = RunRecord.read(folder)
    steps, epochs = record.training.get("steps"), record.training.get("epochs")
    asked = int(training.get("max_steps") or 0)
    if asked > 0:
        reached = isinstance(steps, int) and steps >= asked
    else:
        wanted = float(training.get("num_train_epochs") or 3.0) - 1e-6
        reached = isinstance(epochs, int | float) and epochs >= wanted
    if reached:
        rows = int(training.get("per_device_train_batch_size") or 8) * int(os.environ.get("WORLD_SIZE") or 1)
        rows *= int(training.get("gradient_accumulation_steps") or 1)
        refuse_other_settings(config, folder, rows, is_fitted=False)
    return reached


def refuse_other_settings(
    config: RunConfig,
    folder: Path,
    rows: int,
    content: Mapping[str, Any] | None = None,
    *,
    is_fitted: bool = True,
) -> None:
    """A training is gone on with as it began: what its checkpoint holds would overrule other settings unsaid.

    Its length may be another. A run of an older version whose record is not written yet does not say how it began.

    Args:
        rows: In a step, of all processes; as long as they are as many, they may be spread otherwise.
        content: Digests of the data as it is now, of `data_digests`.
        is_fitted: Whether the config holds already what own data decides.

    Raises:
        FileExistsError: The training in the folder began with other settings than the config's, or on other data; one
            is named.
    """
    begun = marked_settings(folder)
    if not begun and (folder / RECORD).is_file():
        record = RunRecord.read(folder)
        begun = {**record.config, "rows": record.training.get("global_batch_size")}
        begun["content"] = data_digests(record.dataset, record.noise)
    public = config.published()
    free = LENGTH_FIELDS | (BATCH_FIELDS if rows == begun.get("rows") else set())
    if not is_fitted and config.recipe == OWN_DATA_RECIPE:
        free |= FITTED_FIELDS - {*config.asked, *(begun.get("asked") or ())}
    changed = changed_setting(public.values, public.asked, begun, free) if begun.get("training") else None
    if changed is not None:
        raise FileExistsError(
            f"{folder} holds a run that began otherwise: {changed} is asked for now. Give the same settings to go on "
            "with it, pass --overwrite to start again, or choose another --output_dir."
        )
    before, now = begun.get("content") or {}, content or {}
    for name, what in _DIGESTS.items():
        if before.get(name) and now.get(name) and before[name] != now[name]:
            raise FileExistsError(
                f"{folder} holds a run that began on other data: {what} are not those of then. Give it the same data "
                "to go on with it, pass --overwrite to start again, or choose another --output_dir."
            )


def data_digests(dataset: Mapping[str, Any], noise: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the data of a run from other data of the same name, from two sections of its record."""
    return {"fingerprint": dataset.get("fingerprint"), "labels_sha256": noise.get("labels_sha256")}
