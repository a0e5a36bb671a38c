"""A grid of runs: losses by noises by seeds, each cell a run of `jal-hf train` in its own folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jal_hf.noise import parse_noise_spec
from jal_hf.training.building import create_criterion
from jal_hf.training.settings import RunSettings, explicit_flags, parse_settings

# What a grid sets for each cell by itself, and the flag of `jal-hf compare` to use in its place.
GRID_FLAGS = {
    "loss": "--losses",
    "noise": "--noises",
    "seed": "--seeds",
    "output_dir": "--out",
    "resume": "nothing: a grid always goes on where it stopped",
    "resume_from_checkpoint": "nothing: a grid always goes on where it stopped",
    "overwrite": "another --out, or remove the folder",
    "hub_model_id": "--push_to_hub alone: each cell's repository is named after its folder",
}
_OPTION = re.compile(r"[A-Za-z_]+=")


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    loss: str
    noise: str
    seed: int

    @property
    def folder(self) -> str:
        """Name of the cell's folder under the grid's, readable and safe on any file system."""
        noise = re.sub(r"[^:]*/", "", self.noise)
        return re.sub(r"[^A-Za-z0-9.+_-]+", "-", f"{self.loss}-{noise}-seed{self.seed}")

    def __str__(self) -> str:
        return f"{self.loss}, {self.noise}, seed {self.seed}"


def split_noises(text: str) -> list[str]:
    """Noise specs from a comma-separated list; the commas inside a spec (`symmetric:0.4,mode=iid`) are kept.

    Raises:
        ValueError: A spec that cannot be, or none at all.
    """
    specs: list[str] = []
    for part in _words(text):
        if specs and _OPTION.match(part):
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    for spec in specs:
        parse_noise_spec(spec)
    return _distinct(specs, "noise")


def split_losses(text: str) -> list[str]:
    """Loss names from a comma-separated list."""
    return _distinct([name.lower() for name in _words(text)], "loss")


def split_seeds(text: str) -> list[int]:
    """Seeds from a comma-separated list, e.g. `0,1,2`.

    Raises:
        ValueError: Something that is no whole number of at least 0.
    """
    words = _words(text)
    if not all(word.isdigit() for word in words):
        raise ValueError(f"--seeds takes whole numbers such as 0,1,2, got {text!r}.")
    return [int(word) for word in _distinct(words, "seed")]


def plan_cells(losses: Sequence[str], noises: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """All cells, those with the same data next to each other, the first seed of everything first.

    Raises:
        ValueError: Two cells would share a folder.
    """
    cells = [Cell(loss, noise, seed) for seed in seeds for noise in noises for loss in losses]
    taken: dict[str, Cell] = {}
    for cell in cells:
        if cell.folder in taken:
            raise ValueError(f"{cell} and {taken[cell.folder]} would share the folder {cell.folder}.")
        taken[cell.folder] = cell
    return cells


def cell_settings(arguments: Sequence[str], cell: Cell, out: str) -> RunSettings:
    """Settings of one cell, from the words that all cells share.

    The command in them is the `jal-hf train` that makes this one cell again.
    """
    own = ["--loss", cell.loss, "--noise", cell.noise, "--seed", str(cell.seed)]
    place = ["--output_dir", f"{out}/{cell.folder}", "--resume", "auto"]
    return parse_settings([*arguments, *own, *place])


def check_grid(arguments: Sequence[str], cells: Sequence[Cell], out: str) -> RunSettings:
    """Find what cannot be trained before anything is; returns the first cell's settings.

    Raises:
        ValueError: No cell, a flag that the grid sets itself, or a loss or parameter that doesn't exist.
    """
    for flag in explicit_flags(arguments):
        if flag in GRID_FLAGS:
            raise ValueError(f"--{flag} cannot be given to a grid; use {GRID_FLAGS[flag]}.")
    if not cells:
        raise ValueError("The grid is empty; give at least one loss, one noise and one seed.")
    first_of_loss = {cell.loss: cell for cell in reversed(cells)}
    for cell in first_of_loss.values():
        create_criterion(cell_settings(arguments, cell, out))
    return cell_settings(arguments, cells[0], out)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError(f"Expected a comma-separated list, got {text!r}.")
    return words


def _distinct(words: list[str], what: str) -> list[str]:
    repeated = sorted({word for word in words if words.count(word) > 1})
    if repeated:
        raise ValueError(f"The {what} {repeated[0]!r} stands twice in the list.")
    return words
