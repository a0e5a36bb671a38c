"""A cell's figure in the papers' tables, where they report exactly that cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jal_hf.analysis.paper_results import paper_tables
from jal_hf.noise import parse_noise_spec

# Recipes that follow a paper's protocol, and that paper's name of the data.
DATASETS = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cifar10n": "CIFAR-10N",
    "webvision-mini": "WebVision",
    "clothing1m": "Clothing1M",
}
SOURCES = {
    ("jal", "synthetic"): "JAL (ICCV 2025), synthetic noise",
    ("jal", "idn"): "JAL (ICCV 2025), instance-dependent noise",
    ("jal", "human"): "JAL (ICCV 2025), human noise",
    ("jal", "real_world"): "JAL (ICCV 2025), real-world noise, a single run",
    ("alf", "synthetic"): "ALFs (ICML 2021), synthetic noise",
}
_KINDS = {"symmetric": "sym", "asymmetric": "asym", "idn": "idn"}
_CLASS_MAPS = ("mnist", "cifar10", "cifar100-block5")
_HUMAN = {
    "aggre_label": "aggregate",
    "random_label1": "random1",
    "worse_label": "worst",
    "noisy_label": "noisy",
}


@dataclass(frozen=True)
class PaperFigure:
    """Last-epoch test accuracy in percent and its standard deviation over 3 seeds (None: a single run)."""

    accuracy: float
    spread: float | None
    source: str


def paper_figure(recipe: str, loss: str, noise: str) -> PaperFigure | None:
    """What a paper reports for a loss under a noise with a built-in recipe's protocol; the newer paper first.

    Args:
        recipe: Name of the recipe.
        loss: Registry name.
        noise: Noise spec; options that change the draw (`mode=iid`) don't change the cell.
    """
    if recipe not in DATASETS:
        return None
    column = paper_column(noise)
    for (paper, section), source in SOURCES.items():
        for dataset in _names(recipe, section):
            losses = {
                name.lower(): value for name, value in paper_tables()[paper][section].get(dataset, {}).items()
            }
            figure = _figure(losses.get(loss.lower()), column, source)
            if figure is not None:
                return figure
    return None


def paper_column(noise: str) -> str | None:
    """A noise spec as the papers' columns are named here, e.g. `sym-0.4`; None where there is no such."""
    spec = parse_noise_spec(noise)
    argument = spec.argument or ""
    if spec.kind == "none":
        return "clean"
    if spec.kind in _KINDS:
        # A class map other than the tables' own is another noise; how the draw is made is not.
        is_another = spec.options.get("classes", "mnist") not in _CLASS_MAPS or set(spec.options) - {
            "mode",
            "classes",
        }
        return None if is_another else f"{_KINDS[spec.kind]}-{float(argument):g}"
    column = argument.rpartition("#")[2]
    if spec.kind == "human":
        return _HUMAN.get(column)
    if spec.kind == "labels" and column.startswith("idn_"):
        return column.replace("_", "-")
    return None


def _names(recipe: str, section: str) -> tuple[str, ...]:
    """The human labels of CIFAR-10 have a dataset's name of their own in the papers."""
    name = DATASETS[recipe]
    return (name, f"{name}N") if section == "human" else (name,)


def _figure(losses: Any, column: str | None, source: str) -> PaperFigure | None:
    if isinstance(losses, Mapping):
        pair = losses.get(column)
        return None if pair is None else PaperFigure(float(pair[0]), float(pair[1]), source)
    if isinstance(losses, float | int) and column == "clean":
        return PaperFigure(float(losses), None, source)
    return None
