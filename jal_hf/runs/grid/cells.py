"""A grid of runs: losses by noises by seeds, each cell a run of `jal-hf train` in its own folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jal_hf.data.noisy_labels import check_noise
from jal_hf.ground.places import published_spec
from jal_hf.ground.record import row_name
from jal_hf.losses import list_losses, loss_info
from jal_hf.losses.registry import composition
from jal_hf.noise import noise_info
from jal_hf.noise.registry import canonical_spec
from jal_hf.noise.spec import split_spec
from jal_hf.runs.config import OWN_DATA_RECIPE, RunConfig
from jal_hf.runs.parts import check_config, check_network
from jal_hf.training.methods import list_methods, method_info, method_names, parameters_for

# What a grid sets for each cell by itself, and the flag of `jal-hf compare` to use in its place.
GRID_FIELDS = {
    "loss": "--losses",
    "noise": "--noises",
    "method": "--methods",
    "seed": "--seeds",
    "output_dir": "--out",
    "resume_from_checkpoint": "nothing: a grid always goes on where it stopped",
    "overwrite": "another --out, or remove the folder",
    "hub_model_id": "--push_to_hub alone: each cell's repository is named after its folder",
}


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    loss: str
    noise: str
    seed: int
    method: str = "plain"

    @property
    def folder(self) -> str:
        """Name of the cell's folder under the grid's, readable and safe on any file system."""
        noise = re.sub(r"[^:]*/", "", self.noise)
        return re.sub(r"[^A-Za-z0-9.+_-]+", "-", f"{self.row}-{noise}-seed{self.seed}")

    @property
    def row(self) -> str:
        """The row of the grid's table: the loss, and the method where it is not the loss alone."""
        return row_name(self.loss, self.method)

    def published(self) -> Cell:
        """The cell with its label file by name, as the grid's files show it."""
        return replace(self, noise=published_spec(self.noise))

    def __str__(self) -> str:
        return f"{self.row}, {published_spec(self.noise)}, seed {self.seed}"


def in_order(method: str) -> str:
    """Methods such as `twin+ema` in the order in which they are applied and recorded; unknown names stay."""
    return "+".join(method_names(method)) if {*method.split("+")} <= {*list_methods()} else method


def plan_cells(
    losses: Sequence[str], noises: Sequence[str], seeds: Sequence[int], methods: Sequence[str] = ("plain",)
) -> list[Cell]:
    """All cells, those with the same data next to each other, the first seed of everything first.

    Raises:
        ValueError: Two cells would share a folder, or two noises are the same in other words.
    """
    spelled: dict[str, str] = {}
    for noise in noises:
        other = spelled.setdefault(canonical_spec(noise), noise)
        if other != noise:
            raise ValueError(f"The noises {other!r} and {noise!r} are the same; give one of them.")
    cells = [
        Cell(loss, noise, seed, method)
        for seed in seeds
        for noise in noises
        for loss in losses
        for method in map(in_order, methods)
    ]
    taken: dict[str, Cell] = {}
    for cell in cells:
        if cell.folder in taken:
            raise ValueError(f"{cell} and {taken[cell.folder]} would share the folder {cell.folder}.")
        taken[cell.folder] = cell
    return cells


def cell_config(shared: RunConfig, cell: Cell, out: str | Path) -> RunConfig:
    """The run of one cell, from the settings that all cells share."""
    own: dict[str, Any] = {"loss": cell.loss, "noise": cell.noise, "seed": cell.seed}
    if cell.method != in_order(shared.method) or shared.recipe == OWN_DATA_RECIPE:
        own["method"] = cell.method  # own data is given one where none is asked for
    if "loss_args" in shared.asked:
        own["loss_args"] = shared.asked["loss_args"]
    if "method_args" in shared.asked:
        own["method_args"] = parameters_for(cell.method, shared.asked["method_args"] or {})
    return shared.replace(**own, output_dir=f"{out}/{cell.folder}", resume_from_checkpoint="auto")


def check_grid(shared: RunConfig, cells: Sequence[Cell], out: str | Path) -> RunConfig:
    """Find what cannot be trained before anything is; returns the first cell's config.

    Raises:
        ValueError: No cell, a field that the grid sets itself, a loss or parameter that doesn't exist, or one that
            exists in this process alone.
    """
    for name in shared.asked:
        if name in GRID_FIELDS:
            raise ValueError(f"--{name} cannot be given to a grid; use {GRID_FIELDS[name]}.")
    for name in ("resume_from_checkpoint", "overwrite", "hub_model_id"):
        if shared.values.get(name):
            raise ValueError(
                f"{name} stands in the recipe {shared.name!r} and cannot be given to a grid; take it out and use "
                f"{GRID_FIELDS[name]}."
            )
    if not cells:
        raise ValueError("The grid is empty; give at least one loss, one noise and one seed.")
    for cell in {cell.row: cell for cell in reversed(cells)}.values():
        check_config(cell_config(shared, cell, out))
    _refuse_unused_parameters(shared, cells)
    check_network(shared)
    for noise in {cell.noise for cell in cells}:
        check_noise(noise)
    registering_modules(shared, cells)
    return cell_config(shared, cells[0], out)


def _refuse_unused_parameters(shared: RunConfig, cells: Sequence[Cell]) -> None:
    """Parameters by method's name are for methods that the grid trains; others would go unsaid.

    Raises:
        ValueError: One is for none of them.
    """
    trained = {name for cell in cells for name in method_names(cell.method)}
    given = shared.asked.get("method_args") or {}
    for name, value in given.items():
        if name in list_methods() and isinstance(value, Mapping) and name not in trained:
            raise ValueError(
                f"--method_args has parameters of {name!r}, and the grid trains {', '.join(sorted(trained))}; name it "
                "in --methods, or leave them out."
            )


def registering_modules(shared: RunConfig, cells: Sequence[Cell]) -> list[str]:
    """The modules of losses, noises and methods of one's own that the cells name; a worker imports them first.

    Raises:
        ValueError: One that no other process can import.
    """
    found: dict[str, str] = {}
    for cell in cells:
        kind = split_spec(cell.noise).kind
        classes: dict[str, type | None] = {f"noise {kind!r}": noise_info(kind).cls}
        losses = _losses_in(cell.loss, shared.asked.get("loss_args") or {})
        classes |= {f"loss {name!r}": loss_info(name).cls for name in losses}
        classes |= {f"method {name!r}": method_info(name).create for name in method_names(cell.method)}
        found |= {what: cls.__module__ for what, cls in classes.items() if cls is not None}
    own = {what: module for what, module in found.items() if module.partition(".")[0] != "jal_hf"}
    for what, module in own.items():
        if not _is_importable(module):
            raise ValueError(
                f"The {what} is registered in {module}, which the processes that train a grid cannot import. Put it "
                "into a file of its own, such as my_parts.py, and import that."
            )
    return sorted({*own.values()})


def _losses_in(name: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    """The registered losses that a loss is or is made of."""
    if composition(name) is None:
        yield from (name, *(loss_info(name).parts or ()))
        return
    for given in parameters.values():
        part = given if isinstance(given, Mapping) else {"name": given}
        inner = part.get("name")
        if isinstance(inner, str) and (inner in list_losses() or composition(inner) is not None):
            yield from _losses_in(inner, part)


def _is_importable(module: str) -> bool:
    """Whether a fresh interpreter with this one's search path finds a module."""
    top = module.partition(".")[0]
    return top != "__main__" and any(finder.find_spec(top, None) for finder in sys.meta_path)
