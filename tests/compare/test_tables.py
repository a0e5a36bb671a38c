"""The table in the papers' layout, and the papers' figures beside it."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from jal_hf.analysis.grid_plots import mean_log, plot_grid
from jal_hf.analysis.paper_figures import paper_column, paper_figure
from jal_hf.analysis.tables import GridTable, grid_table, latex_table, markdown_table, write_tables
from jal_hf.ground.sentences import counted
from jal_hf.runs.grid.cells import Cell
from jal_hf.runs.grid.ledger import result_line
from tests.compare.helpers import record

pytestmark = pytest.mark.usefixtures("drawn")

NOISES = ["symmetric:0.4", "asymmetric:0.4,classes=cifar100-superclass"]
ACCURACIES = {"ce": (0.58, 0.59, 0.57), "gce": (0.86,), "jal-ce": (0.88, 0.89, 0.90), "nce": ()}

MARKDOWN = """\
Test accuracy of the last epoch, %, mean ± standard deviation over seeds; a column's best two bold.

| loss   | symmetric:0.4    | paper, symmetric:0.4 | asymmetric:0.4,classes=cifar100-superclass |
| ------ | ---------------: | -------------------: | -----------------------------------------: |
| CE     | 58.00 ± 1.00     | 58.05 ± 0.53         | -                                          |
| GCE    | **86.00**        | 82.19 ± 0.84         | -                                          |
| JAL-CE | **89.00 ± 1.00** | 87.53 ± 0.10         | -                                          |
| NCE    | failed           | 69.37 ± 0.22         | -                                          |

- Data: cifar10, 50,000 training images; 120 epochs; fp32; seeds 0, 1, 2.
- Paper: JAL (ICCV 2025), synthetic noise.

Test accuracy of the best epoch, %, chosen on the test set: not comparable with the table above.

| loss   | symmetric:0.4    | asymmetric:0.4,classes=cifar100-superclass |
| ------ | ---------------: | -----------------------------------------: |
| CE     | 59.00 ± 1.00     | -                                          |
| GCE    | **87.00**        | -                                          |
| JAL-CE | **90.00 ± 1.00** | -                                          |
| NCE    | failed           | -                                          |
"""


def results() -> list[dict[str, Any]]:
    return [
        result_line(Cell(loss, NOISES[0], seed), record(accuracy))
        for loss, values in ACCURACIES.items()
        for seed, accuracy in enumerate(values)
    ]


def table() -> GridTable:
    failures = [{"loss": "nce", "noise": NOISES[0], "seed": 0, "error": "out of memory"}]
    return grid_table(results(), failures, list(ACCURACIES), NOISES)


def test_markdown_table_matches_the_golden_one() -> None:
    assert markdown_table(table()) == MARKDOWN


def test_latex_table_has_a_bold_best_two_and_the_papers_figures() -> None:
    text = latex_table(table())
    assert r"JAL-CE & \textbf{89.00 $\pm$ 1.00} & 87.53 $\pm$ 0.10 & - \\" in text
    assert r"CE & 58.00 $\pm$ 1.00 & 58.05 $\pm$ 0.53 & - \\" in text
    assert r"\begin{tabular}{lccc}" in text
    assert text.count(r"\textbf") == 2


def test_spread_is_the_sample_standard_deviation() -> None:
    values = [0.812, 0.797, 0.824]
    lines = [result_line(Cell("ce", NOISES[0], seed), record(value)) for seed, value in enumerate(values)]
    mean = 100 * sum(values) / 3
    spread = math.sqrt(sum((100 * value - mean) ** 2 for value in values) / 2)
    assert f"{mean:.2f} ± {spread:.2f}" in markdown_table(grid_table(lines, [], ["ce"], NOISES[:1]))
    assert spread > 100 * statistics.pstdev(values)


def test_deviations_from_the_protocol_stand_under_the_papers_figures() -> None:
    short = record(0.8)
    short["protocol"]["deviations"] = ["num_train_epochs 50 instead of 120"]
    text = markdown_table(grid_table([result_line(Cell("ce", NOISES[0], 0), short)], [], ["ce"], NOISES[:1]))
    assert "Differs from the paper's protocol: num_train_epochs 50 instead of 120." in text


@pytest.mark.parametrize(
    ("recipe", "loss", "noise", "expected"),
    [
        ("mnist", "agce", "symmetric:0.8", (96.59, 0.12)),
        ("cifar10", "ce", "asymmetric:0.4", (73.85, 0.07)),
        ("cifar10", "CE", "symmetric:0.40,mode=iid", (58.05, 0.53)),
        ("cifar10", "ce", "none", (90.50, 0.22)),
        ("webvision-mini", "jal-ce", "none", (69.84, None)),
    ],
)
def test_paper_figure_is_that_of_the_tables(
    recipe: str, loss: str, noise: str, expected: tuple[float, float | None]
) -> None:
    figure = paper_figure(recipe, loss, noise)
    assert figure is not None
    assert (figure.accuracy, figure.spread) == expected


@pytest.mark.parametrize(
    ("recipe", "loss", "noise"),
    [
        ("digits", "ce", "symmetric:0.4"),
        ("cifar10", "ce", "symmetric:0.45"),
        ("cifar10", "mse", "symmetric:0.4"),
        ("cifar100", "ce", "asymmetric:0.4,classes=cifar100-superclass"),
        ("cifar10", "ce", "pairflip:0.4"),
    ],
)
def test_paper_figure_is_none_where_the_cell_was_not_reported(recipe: str, loss: str, noise: str) -> None:
    assert paper_figure(recipe, loss, noise) is None


@pytest.mark.parametrize(
    ("noise", "column"),
    [
        ("labels:some/idn.parquet#idn_0.4", "idn-0.4"),
        ("idn:0.2", "idn-0.2"),
        ("human:cifar10n.parquet#worse_label", "worst"),
        ("human:cifar10n.parquet#aggre_label", "aggregate"),
        ("asymmetric:0.3,classes=cifar100-block5", "asym-0.3"),
        ("matrix:T.npy", None),
    ],
)
def test_paper_column_of_a_noise(noise: str, column: str | None) -> None:
    assert paper_column(noise) == column


def test_mean_log_averages_the_epochs_that_all_runs_have() -> None:
    runs = [
        [
            {"epoch": 1.0, "eval_accuracy": 0.5},
            {"epoch": 2.0, "eval_accuracy": 0.7},
            {"epoch": 2.0, "loss": 1.0},
        ],
        [{"epoch": 1.0, "eval_accuracy": 0.6}],
    ]
    assert mean_log(runs) == [{"epoch": 1.0, "eval_accuracy": pytest.approx(0.55)}]
    assert mean_log([]) == []


def test_mean_log_averages_seconds_where_all_runs_know_them() -> None:
    known = [
        {"epoch": 1.0, "eval_accuracy": 0.5, "seconds": 2.0},
        {"epoch": 2.0, "eval_accuracy": 0.6, "seconds": 4.0},
    ]
    other = [{"epoch": 1.0, "eval_accuracy": 0.5, "seconds": 3.0}, {"epoch": 2.0, "eval_accuracy": 0.8}]
    first, second = mean_log([known, other])
    assert first == {"epoch": 1.0, "eval_accuracy": 0.5, "seconds": 2.5}
    assert second == {"epoch": 2.0, "eval_accuracy": pytest.approx(0.7)}


def test_accuracy_over_time_is_drawn_where_the_logs_tell_it(tmp_path: Path) -> None:
    for number, line in enumerate(results()):
        folder = tmp_path / line["folder"]
        folder.mkdir()
        logged = {"step": 1, "epoch": 1.0, "eval_accuracy": 0.5, "seconds": 1.5 + number}
        (folder / "log.jsonl").write_text(json.dumps(logged) + "\n")
    plot_grid(table(), tmp_path)
    drawing = (tmp_path / "plots" / "time-symmetric-0.4.svg").read_text()
    assert "seconds of training" in drawing
    assert ">epoch<" not in drawing


def test_tables_and_plots_are_written(tmp_path: Path) -> None:
    for line in results():
        folder = tmp_path / line["folder"]
        folder.mkdir()
        (folder / "log.jsonl").write_text('{"step": 1, "epoch": 1.0, "eval_accuracy": 0.5}\n')
    write_tables(table(), tmp_path)
    plot_grid(table(), tmp_path)
    assert {path.name for path in tmp_path.glob("*.*") if path.is_file()} == {"table.md", "table.tex"}
    names = {path.name for path in (tmp_path / "plots").glob("*.png")}
    assert names == {"bars.png", "curves-symmetric-0.4.png"}


def test_numbers_and_their_nouns_agree() -> None:
    assert [counted(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [counted(number, "class") for number in (1, 1.5)] == ["1 class", "1.5 classes"]
    notes = grid_table([{**results()[0], "rows": 1, "epochs": 1.0}], [], ["ce"], ["symmetric:0.4"]).notes
    assert ", 1 training image; 1 epoch; " in notes[0]
    several = [{**results()[0], "rows": rows, "epochs": rows} for rows in (1, 3)]
    assert ", 1 to 3 training images; 1 to 3 epochs; " in grid_table(several, [], ["ce"], NOISES).notes[0]
    assert (
        "an unknown number of epochs" in grid_table([{**results()[0], "epochs": None}], [], [], []).notes[0]
    )


def test_weights_of_another_epoch_than_the_tables_are_said() -> None:
    plain = record(0.9)
    kept = plain.replace(
        metrics={**plain.metrics, "saved": {"accuracy": 0.91, "epoch": 60.0, "chosen_by": "loss"}}
    )
    lines = [result_line(Cell("ce", NOISES[0], 0), one) for one in (plain, kept)]
    assert "the epoch with the best loss, whose accuracy" in markdown_table(
        grid_table(lines, [], ["ce"], NOISES)
    )
    assert "The weights in" not in markdown_table(grid_table(lines[:1], [], ["ce"], NOISES))
