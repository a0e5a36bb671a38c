"""The tables of the README are those of the runs whose records are in model_cards/."""

from __future__ import annotations

from pathlib import Path

import pytest

from jal_hf.analysis.tables import GridTable, grid_table, markdown_table
from jal_hf.ground.record import RunRecord
from jal_hf.runs.grid.cells import Cell
from jal_hf.runs.grid.ledger import result_line

ROOT = Path(__file__).resolve().parents[2]
GRIDS = {
    "mnist": (
        ["ce", "gce", "nce", "aul", "agce", "ael", "jal-ce"],
        ["symmetric:0.8", "asymmetric:0.4"],
    ),
    "cifar10": (
        ["ce", "anl-ce", "jal-ce", "jal-fl"],
        ["symmetric:0.8", "asymmetric:0.4", "human:cifar10n.parquet#worse_label"],
    ),
    "cifar10-short": (["ce", "nce+agce", "jal-ce"], ["symmetric:0.4"]),
}

pytestmark = pytest.mark.skipif(
    not (ROOT / "model_cards").is_dir(), reason="model_cards/ is not part of this installation"
)


def published(grid: str) -> GridTable:
    """The table of the published runs of a grid."""
    lines = []
    longer = tuple(f"{name}-" for name in GRIDS if name.startswith(f"{grid}-"))
    for path in sorted((ROOT / "model_cards").glob(f"{grid}-*-seed*/run.json")):
        if path.parent.name.startswith(longer):
            continue
        record = RunRecord.read(path)
        # A record names the class map that the command left to the recipe.
        noise = record.noise["spec"].partition(",classes=")[0]
        cell = Cell(record.loss["name"], noise, int(record.seed or 0))
        lines.append(result_line(cell, record))
    return grid_table(lines, [], *GRIDS[grid])


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_readme_shows_the_table_of_the_published_runs(grid: str) -> None:
    figures = markdown_table(published(grid)).split("\n\n")[1]
    assert figures.startswith("| loss")
    assert figures in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("noise", GRIDS["cifar10"][1])
@pytest.mark.parametrize("loss", ["ce", "jal-ce", "jal-fl"])
def test_published_cifar10_cells_lie_within_two_points_of_the_paper(loss: str, noise: str) -> None:
    """ANL-CE under symmetric 0.8 does not, as the README says."""
    cell = published("cifar10").cell(loss, noise)
    if not cell.last:
        pytest.skip("this cell was not trained")
    assert cell.paper is not None
    assert cell.last == pytest.approx([cell.paper.accuracy], abs=2.0)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "model_cards").glob("*/run.json")), ids=lambda p: p.parent.name
)
def test_published_record_names_no_place_of_a_machine(path: Path) -> None:
    record = RunRecord.read(path)
    words = [*str(record.command).split(), record.dataset["name"], record.noise["spec"]]
    assert not [word for word in words if word.startswith(("/", "~", "..")) or "/home/" in word]


@pytest.mark.parametrize("loss", ["nce", "aul", "agce", "ael"])
def test_published_mnist_cells_lie_within_a_point_and_a_half_of_the_paper(loss: str) -> None:
    cell = published("mnist").cell(loss, "symmetric:0.8")
    assert cell.paper is not None
    assert cell.last
    assert sum(cell.last) / len(cell.last) == pytest.approx(cell.paper.accuracy, abs=1.5)
