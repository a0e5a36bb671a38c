"""The tables of the documentation are those of the runs whose records are in model_cards/."""

from __future__ import annotations

from pathlib import Path

import pytest

from jal_hf.analysis.tables import GridTable, markdown_table
from jal_hf.ground.record import RunRecord
from tests.docs.generated_parts import generated

ROOT = Path(__file__).resolve().parents[2]
GRIDS = generated().GRIDS

pytestmark = pytest.mark.skipif(
    not (ROOT / "model_cards").is_dir(), reason="model_cards/ is not part of this installation"
)


def published(grid: str) -> GridTable:
    """The table of the published runs of a grid."""
    table: GridTable = generated().published(grid)
    return table


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_results_page_shows_the_table_of_the_published_runs(grid: str) -> None:
    figures = markdown_table(published(grid)).split("\n\n")[1]
    assert figures.startswith("| loss")
    page = ROOT / "examples" / "docs" / "results.md"
    assert figures in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("noise", GRIDS["cifar10"][1])
@pytest.mark.parametrize("loss", ["ce", "jal-ce", "jal-fl"])
def test_published_cifar10_cells_lie_within_two_points_of_the_paper(loss: str, noise: str) -> None:
    """ANL-CE under symmetric 0.8 does not, as the documentation says."""
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
