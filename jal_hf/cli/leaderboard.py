"""`jal-hf leaderboard DATASET`: the results of models on a benchmark of the Hub."""

from __future__ import annotations

import argparse
import json
from typing import Any

NAME = "leaderboard"
HELP = "the results of models on a benchmark of the Hub"
_SHOWN_REASONS, _NOTES = 3, 60


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
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from jal_hf.hub.leaderboard import read_board

    board = read_board(arguments.dataset, arguments.task, arguments.model)
    print(json.dumps(board.to_dict(), indent=1) if arguments.json else board_text(board))
    return 0


def board_text(board: Any) -> str:
    """The table of a `Board`, and what was left out."""
    lines = [f"{board.benchmark.name} ({board.dataset})", ""]
    head = ("rank", "task", "model", "value", "", "date", "notes")
    table = [head, *(_cells(row) for row in board.rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(head) - 1)]
    for row in table:
        lines.append("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip())
    if not board.rows:
        lines.append("No model has a result yet.")
    verified = sum(row.verified for row in board.rows)
    lines += [
        "",
        f"{len(board.rows)} results of {board.models} models; {verified} verified by the Hub, the others as their "
        "owners report them.",
    ]
    if board.refused:
        shown = "; ".join(f"{model}: {reason}" for model, reason in board.refused[:_SHOWN_REASONS])
        more = "; ..." if len(board.refused) > _SHOWN_REASONS else ""
        lines.append(f"{len(board.refused)} could not be used and were left out: {shown}{more}.")
    return "\n".join(lines)


def _cells(row: Any) -> tuple[str, ...]:
    notes = row.notes if len(row.notes) <= _NOTES else f"{row.notes[: _NOTES - 3]}..."
    trust = "verified" if row.verified else "self-reported"
    return (str(row.rank), row.task, row.model, f"{row.value:.2f}", trust, row.date, notes)
