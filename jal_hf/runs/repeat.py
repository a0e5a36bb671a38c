"""A finished run's config again, from its record; what a stranger's record may bring about, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.ground.places import is_hub_id
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.models.sources import is_checkpoint_name
from jal_hf.noise.spec import split_spec
from jal_hf.runs.config import RunConfig
from jal_hf.runs.marker import made_here, marked_paths


def config_from(
    recipe: str | Path | None, *, fast: bool = False, best: bool = False, **changes: Any
) -> RunConfig:
    """The run that a recipe describes, or a finished run again, with changes by flag name of `jal-hf train`.

    Args:
        recipe: As `RunConfig.from_recipe`; or the folder of a finished run, or its `run.json`. Of such a run all that
            decides its result is taken, and nothing that names a place, pushes or reports.
        fast, best: As `RunConfig.from_recipe`; a run has none.

    Raises:
        ValueError: As `RunConfig.from_recipe`; or the run cannot be repeated from its record.
    """
    path = Path(recipe or "")
    folder = path.parent if path.name == RECORD else path
    if recipe is None or not (folder / RECORD).is_file():
        return RunConfig.from_recipe(recipe, fast=fast, best=best, **changes)
    record = RunRecord.read(folder)
    if fast or best:
        raise ValueError("--fast and --best are for recipes; a run is repeated as it was. Leave them out.")
    if record.finetune or record.config.get("data", {}).get("dataset") == DATASET_OBJECT:
        how = (
            f"its own line: {record.command}"
            if record.finetune
            else "jal_hf.train(data=...), as it was given"
        )
        raise ValueError(f"The run in {folder} cannot be repeated from its record; repeat it by {how}.")
    return config_of_run(folder, record).replace(**changes)


def config_of_run(folder: Path, record: RunRecord, *, trust: bool = False) -> RunConfig:
    """The config that gives a run's result again, with the data where it lies on this machine.

    Only fields that decide the result are taken: nothing in a record can push, overwrite or report.

    Args:
        trust: The folder was moved by its user: what it says of this machine holds, as far as it is there.

    Raises:
        ValueError: The record keeps no config, as those of version 0.1, or one that cannot be.
    """
    if not record.config and not record.command:
        raise ValueError(
            f"The run in {folder} was made by a trainer put together by hand, and its record does not say where the "
            "data is: give the dataset, as dataset= or --dataset."
        )
    if not record.config:
        raise ValueError(
            f"The record in {folder} was written by jal_hf 0.1 and keeps the run's settings as a command alone, "
            f"which `jal-hf audit {folder}` reads."
        )
    config = RunConfig.from_dict(record.config).repeated()
    paths = marked_paths(folder)
    if not made_here(folder):
        paths = {name: path for name, path in paths.items() if trust and _is_there(name, path)}
    return config.replace(**paths) if paths else config


def _is_there(name: str, place: str) -> bool:
    """Whether a path, or the file that a noise spec names, is on this machine."""
    file = (split_spec(place).argument or "").partition("#")[0] if name == "noise" else place
    return bool(file) and Path(file).exists()


def refuse_strange_sources(folder: Path, config: RunConfig, *, trust: bool, with_model: bool) -> None:
    """What a run made elsewhere names is not loaded unasked.

    Args:
        trust: The user has said that the record's data and weights may be loaded.
        with_model: The network is built anew by the name in the record, as folds do.

    Raises:
        ValueError: The record names a dataset or a checkpoint from elsewhere.
    """
    if trust or made_here(folder):
        return
    named = [] if config.data.dataset in ("digits", DATASET_OBJECT) else [("dataset", config.data.dataset)]
    if "#" in config.noise or config.noise.startswith("matrix:"):
        named.append(("label file", config.noise))
    if with_model and (is_checkpoint_name(config.model.model) or config.model.pretrained):
        named.append(("model", config.model.model))
    if named:
        what, name = named[0]
        on_hub = is_hub_id(name.removeprefix("benchmark:").partition("#")[0])
        where = "from the Hub" if on_hub else "on this machine"
        raise ValueError(
            f"The run in {folder} was made elsewhere, and its record names the {what} {name!r}, which would be loaded "
            f"{where}. Pass --trust (trust=True) if that is meant, or name your own data with --dataset."
        )
