"""The table of a grid as the papers print it: losses by noises, mean and spread, the best two bold."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jal_hf.analysis.paper_figures import PaperFigure, paper_figure
from jal_hf.ground.files import write_text
from jal_hf.ground.record import row_name
from jal_hf.ground.sentences import counted, printable

BOLD_PER_COLUMN = 2


@dataclass(frozen=True)
class TableCell:
    """Accuracies in percent of one loss under one noise, a value a seed; `failed` counts runs without one."""

    last: tuple[float, ...] = ()
    best: tuple[float, ...] = ()
    failed: int = 0
    paper: PaperFigure | None = None
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class GridTable:
    """A grid's results in the order of rows (losses) and columns (noises)."""

    losses: tuple[str, ...]
    noises: tuple[str, ...]
    cells: Mapping[tuple[str, str], TableCell]
    notes: tuple[str, ...] = ()

    def cell(self, loss: str, noise: str) -> TableCell:
        """The cell of a loss and a noise, empty where nothing was run."""
        return self.cells.get((loss, noise), TableCell())

    def has_paper(self, noise: str) -> bool:
        """Whether a paper reports any of this column's cells."""
        return any(self.cell(loss, noise).paper is not None for loss in self.losses)


def grid_table(
    results: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]],
    losses: Sequence[str],
    noises: Sequence[str],
) -> GridTable:
    """Gather the lines of `results.jsonl` and `failures.jsonl`."""
    recipe = str(results[0]["recipe"]) if results else ""
    cells = {}
    for loss in losses:
        for noise in noises:
            own = sorted(
                (
                    line
                    for line in results
                    if (row_name(line["loss"], line.get("method")), line["noise"]) == (loss, noise)
                ),
                key=_seed,
            )
            cells[loss, noise] = TableCell(
                last=tuple(100.0 * line["accuracy"] for line in own if line["accuracy"] is not None),
                best=tuple(
                    100.0 * line["best_accuracy"] for line in own if line["best_accuracy"] is not None
                ),
                failed=sum(
                    (row_name(line["loss"], line.get("method")), line["noise"]) == (loss, noise)
                    for line in failures
                ),
                paper=paper_figure(recipe, loss, noise),
                folders=tuple(str(line["folder"]) for line in own),
            )
    return GridTable(tuple(losses), tuple(noises), cells, _notes(results, cells))


def markdown_table(table: GridTable) -> str:
    """Last-epoch accuracies beside the papers', then best-epoch ones, named as such."""
    blocks = [
        "Test accuracy of the last epoch, %, mean ± standard deviation over seeds; a column's best two bold.",
        _markdown_rows(table, lambda cell: cell.last, with_paper=True),
        "\n".join(f"- {note}" for note in table.notes),
        "Test accuracy of the best epoch, %, chosen on the test set: not comparable with the table above.",
        _markdown_rows(table, lambda cell: cell.best, with_paper=False),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def latex_table(table: GridTable) -> str:
    """The last-epoch table for a paper: needs the package booktabs."""
    columns = _columns(table, with_paper=True)
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}",
        "  \\centering",
        "  \\caption{Last-epoch test accuracy in percent, mean and standard deviation over seeds. "
        + " ".join(_latex(note) for note in table.notes)
        + "}",
        f"  \\begin{{tabular}}{{l{'c' * len(columns)}}}",
        "    \\toprule",
        "    " + " & ".join(["Loss", *(_latex(title) for title, _, _ in columns)]) + " \\\\",
        "    \\midrule",
    ]
    marked = _best_two(table, lambda cell: cell.last)
    for loss in table.losses:
        entries = [display_name(loss).replace("_", "\\_")]
        for _, noise, is_paper in columns:
            cell = table.cell(loss, noise)
            text = _paper_text(cell) if is_paper else _figure(cell.last, cell.failed)
            text = text.replace("±", "$\\pm$").replace("%", "\\%")
            is_best = not is_paper and (loss, noise) in marked
            entries.append(f"\\textbf{{{text}}}" if is_best else text)
        lines.append("    " + " & ".join(entries) + " \\\\")
    return "\n".join([*lines, "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])


def write_tables(table: GridTable, folder: str | Path) -> tuple[Path, Path]:
    """Write `table.md` and `table.tex`; returns both."""
    markdown, latex = Path(folder) / "table.md", Path(folder) / "table.tex"
    write_text(markdown, markdown_table(table))
    write_text(latex, latex_table(table))
    return markdown, latex


def display_name(loss: str) -> str:
    """A loss as the papers write it, a training method after it as it is called."""
    name, _, method = loss.partition(" ")
    return f"{name.upper()} {method}".strip()


def display_noise(spec: str) -> str:
    """A noise spec without the folders of its file, on one line."""
    kind, colon, rest = spec.partition(":")
    return printable(f"{kind}{colon}{rest.rpartition('/')[2]}")


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation with ddof 1 as in the papers; None for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _columns(table: GridTable, *, with_paper: bool) -> list[tuple[str, str, bool]]:
    """(title, noise, whether it is the paper's column)."""
    columns = []
    for noise in table.noises:
        title = display_noise(noise)
        columns.append((title, noise, False))
        if with_paper and table.has_paper(noise):
            columns.append((f"paper, {title}", noise, True))
    return columns


def _markdown_rows(
    table: GridTable, values: Callable[[TableCell], tuple[float, ...]], *, with_paper: bool
) -> str:
    columns = _columns(table, with_paper=with_paper)
    marked = _best_two(table, values)
    rows = [
        ["loss", *(title.replace("|", "\\|") for title, _, _ in columns)],
        ["---", *["---:"] * len(columns)],
    ]
    for loss in table.losses:
        row = [display_name(loss)]
        for _, noise, is_paper in columns:
            cell = table.cell(loss, noise)
            text = _paper_text(cell) if is_paper else _figure(values(cell), cell.failed)
            row.append(f"**{text}**" if not is_paper and (loss, noise) in marked else text)
        rows.append(row)
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns) + 1)]
    lines = []
    for number, row in enumerate(rows):
        filler = "-" if number == 1 else " "
        cells = [
            text[:-1].ljust(width - 1, filler) + ":" if number == 1 and place else text.ljust(width, filler)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _best_two(table: GridTable, values: Callable[[TableCell], tuple[float, ...]]) -> set[tuple[str, str]]:
    """The cells to print bold: of each column the two highest means, but never all of them."""
    marked = set()
    for noise in table.noises:
        means = {
            loss: statistics.fmean(values(table.cell(loss, noise)))
            for loss in table.losses
            if values(table.cell(loss, noise))
        }
        if len(means) > 1:
            ranked = sorted(means, key=lambda loss: -means[loss])
            marked |= {(loss, noise) for loss in ranked[: min(BOLD_PER_COLUMN, len(ranked) - 1)]}
    return marked


def _figure(values: Sequence[float], failed: int) -> str:
    """`63.59 ± 0.28`, one value alone, or why there is none."""
    missing = f" ({failed} failed)" if failed else ""
    if not values:
        return "failed" if failed else "-"
    mean, spread = mean_and_spread(values)
    return f"{mean:.2f}{'' if spread is None else f' ± {spread:.2f}'}{missing}"


def _paper_text(cell: TableCell) -> str:
    if cell.paper is None:
        return "-"
    spread = "" if cell.paper.spread is None else f" ± {cell.paper.spread:.2f}"
    return f"{cell.paper.accuracy:.2f}{spread}"


def _notes(
    results: Sequence[Mapping[str, Any]], cells: Mapping[tuple[str, str], TableCell]
) -> tuple[str, ...]:
    """What was run, and what differs from the protocol whose figures stand beside."""
    notes = []
    if results:
        seeds = sorted({line["seed"] for line in results})
        rows = _span((line["rows"] for line in results), "training image")
        epochs = _span((line["epochs"] for line in results), "epoch")
        precisions = ", ".join(sorted({str(line["precision"]) for line in results}))
        names = ", ".join(sorted({Path(str(line["dataset"])).name for line in results}))
        word = "seed" if len(seeds) == 1 else "seeds"
        notes.append(f"Data: {names}, {rows}; {epochs}; {precisions}; {word} {', '.join(map(str, seeds))}.")
    chosen = sorted({str(line["weights_chosen_by"]) for line in results if line.get("weights_chosen_by")})
    if chosen:
        notes.append(
            f"The weights in the runs' folders are those of the epoch with the best {', '.join(chosen)}, whose "
            "accuracy their cards give; the accuracies here are those of the epochs that the tables name."
        )
    sources = sorted({cell.paper.source for cell in cells.values() if cell.paper is not None})
    if sources:
        notes.append(f"Paper: {'; '.join(sources)}.")
        differing = list(dict.fromkeys(text for line in results for text in line["deviations"]))
        if differing:
            notes.append(f"Differs from the paper's protocol: {'; '.join(differing)}.")
    return tuple(notes)


def _span(values: Iterable[float | None], noun: str) -> str:
    distinct = sorted({value for value in values if value is not None})
    if not distinct:
        return f"an unknown number of {noun}s"
    return (
        counted(distinct[0], noun) if len(distinct) == 1 else f"{distinct[0]:,g} to {distinct[-1]:,g} {noun}s"
    )


def _seed(line: Mapping[str, Any]) -> int:
    return int(line["seed"])


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": "\\textbackslash{}", "^": "\\^{}", "~": "\\~{}", "±": "$\\pm$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
