"""The papers' tables, and the column of them that lies nearest to a user's data and noise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jal_hf.ground.files import JsonObject
from jal_hf.noise import noise_family

CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "MNIST": 10, "CIFAR-10N": 10, "CIFAR-100N": 100}
HUMAN_RATES = {"aggregate": 0.0901, "random1": 0.1723, "worst": 0.4021, "noisy": 0.4020}
KINDS = {"sym": "symmetric", "asym": "asymmetric", "idn": "instance-dependent"}


@dataclass(frozen=True)
class PaperColumn:
    """Last-epoch test accuracies of one dataset under one noise, in percent, by loss (registry names).

    `spread` is the standard deviation over 3 seeds, in percent points.
    """

    table: str
    dataset: str
    noise: str
    rate: float
    accuracy: dict[str, float]
    spread: dict[str, float]

    def ranked(self) -> list[tuple[str, float, float]]:
        """(loss, accuracy, spread), the best first."""
        return sorted(
            ((name, value, self.spread[name]) for name, value in self.accuracy.items()),
            key=lambda row: -row[1],
        )


@cache
def paper_tables() -> JsonObject:
    """The tables as published: `jal` (ICCV 2025, Tables 3-6) and `alf` (ICML 2021, Tables 1-3)."""
    content = files("jal_hf.analysis").joinpath("paper_tables.json").read_text(encoding="utf-8")
    tables: JsonObject = json.loads(content)
    return tables


@cache
def paper_columns() -> tuple[PaperColumn, ...]:
    """Every column of the tables on synthetic, instance-dependent and human noise."""
    tables = paper_tables()
    found: list[PaperColumn] = []
    for table, content in (
        ("JAL paper, synthetic noise", tables["jal"]["synthetic"]),
        ("JAL paper, instance-dependent noise", tables["jal"]["idn"]),
        ("JAL paper, human noise", tables["jal"]["human"]),
        ("ALF paper, synthetic noise", tables["alf"]["synthetic"]),
    ):
        for dataset, losses in content.items():
            names = dict.fromkeys(name for cells in losses.values() for name in cells)
            found += [_column(table, dataset, noise, losses) for noise in names]
    return tuple(found)


def nearest_column(kind: str, rate: float, num_classes: int, dataset: str = "") -> PaperColumn:
    """The column nearest to a noise of this kind and rate, in [0, 1], on data of `num_classes` classes.

    `kind` is symmetric, asymmetric, idn, human or none; other kinds count as symmetric. A dataset whose name
    appears in `dataset` wins over a number of classes; then the nearest number of classes counts, then kind,
    then rate. The newer paper breaks ties.
    """
    wanted = _family(kind, rate)
    flat = dataset.lower().replace("-", "").replace("_", "")

    def distance(column: PaperColumn) -> tuple[float, ...]:
        own_name = column.dataset.lower().replace("-", "")
        named = own_name in flat and not (own_name == "cifar10" and "cifar100" in flat)
        classes = abs(math.log(CLASSES[column.dataset] / num_classes))
        return (
            0.0 if named else 1.0,
            classes,
            0.0 if _column_family(column) == wanted else 1.0,
            # MNIST is far easier than most data; without its name it should not set expectations.
            0.0 if named or column.dataset != "MNIST" else 1.0,
            abs(column.rate - rate),
            0.0 if column.table.startswith("JAL") else 1.0,
        )

    return min(paper_columns(), key=distance)


def _family(kind: str, rate: float) -> str:
    return "clean" if rate == 0.0 else noise_family(kind)


def _column_family(column: PaperColumn) -> str:
    return "human" if "human" in column.table else column.noise.split(" ")[0]


def _column(table: str, dataset: str, noise: str, losses: Mapping[str, Mapping[str, Any]]) -> PaperColumn:
    kind, _, rate_text = noise.partition("-")
    rate = HUMAN_RATES[noise] if "human" in table else float(rate_text or 0.0)
    title = noise if "human" in table else "clean" if kind == "clean" else f"{KINDS[kind]} {rate:g}"
    cells = {name.lower(): values[noise] for name, values in losses.items() if values.get(noise)}
    return PaperColumn(
        table=table,
        dataset=dataset,
        noise=title,
        rate=rate,
        accuracy={name: float(cell[0]) for name, cell in cells.items()},
        spread={name: float(cell[1]) for name, cell in cells.items()},
    )
