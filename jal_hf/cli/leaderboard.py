"""`jal-hf leaderboard DATASET`: the results of models on a benchmark of the Hub."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from typing import Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.ground.sentences import shortened

NAME = "leaderboard"
HELP = "the results of models on a benchmark of the Hub"
_SHOWN_REASONS, _LEAST_NOTES = 3, 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATASET, which task, and how to print."""
    parser.add_argument("dataset", metavar="DATASET", help="OWNER/NAME of a benchmark on the Hub.")
    parser.add_argument("--task", help="Only this task.")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="OWNER/NAME",
        help="Look at this model too, whose card does not name the benchmark; repeat it for several.",
    )
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from jal_hf.hub.leaderboard import read_board

    output = Output(arguments)
    with output.working():
        board = read_board(arguments.dataset, arguments.task, arguments.model)
    rows = [f"{row.task}\t{row.rank}\t{row.value:.2f}\t{row.model}" for row in board.rows]
    output.result(board.to_dict(), board_text(board), brief="\n".join(rows))
    return 0


def board_text(board: Any, width: int | None = None) -> str:
    """The tables of a `Board`, one a task, and what was left out.

    Args:
        board: From `read_board`.
        width: Columns of the screen, which notes are cut to; None asks the terminal, 80 where there is none.
    """
    width = shutil.get_terminal_size().columns if width is None else width
    lines = [f"{board.benchmark.name} ({board.dataset})"]
    for task in dict.fromkeys(row.task for row in board.rows):
        lines += ["", task, *_table([row for row in board.rows if row.task == task], width)]
    if not board.rows:
        lines += ["", "No model has a result yet."]
    verified = sum(row.verified for row in board.rows)
    told = [
        f"{len(board.rows)} results of {board.models} models; {verified} verified by the Hub, the others as their "
        "owners report them."
    ]
    if board.refused:
        shown = "; ".join(f"{model}: {reason}" for model, reason in board.refused[:_SHOWN_REASONS])
        more = "; ..." if len(board.refused) > _SHOWN_REASONS else "."
        told.append(f"{len(board.refused)} could not be used and were left out: {shown}{more}")
    for text in told:
        lines += ["", *textwrap.wrap(text, width)]
    return "\n".join(lines)


def _table(rows: list[Any], width: int) -> list[str]:
    cells = [("rank", "value", "", "date", "model", "notes")]
    for row in rows:
        trust = "verified" if row.verified else "self-reported"
        cells.append((str(row.rank), f"{row.value:.2f}", trust, row.date, row.model, row.notes))
    widths = [max(len(line[place]) for line in cells) for place in range(5)]
    left = width - sum(widths) - 2 * len(widths)
    shown = []
    for line in cells:
        notes = shortened(line[-1], left) if left >= _LEAST_NOTES else ""
        shown.append("  ".join([*map(str.ljust, line, widths), notes]).rstrip())
    return shown
