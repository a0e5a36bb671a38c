"""From records of runs to the first entries of a benchmark: a result file for each run on its labels, and the table.

    jal-hf benchmark mnist --noise symmetric:0.8,asymmetric:0.4,classes=mnist --seeds 0,1,2 --out noisy-mnist
    python examples/published_results.py model_cards --benchmark noisy-mnist --dataset OWNER/noisy-mnist --out entries

A run belongs to a task when the SHA-256 of its noisy labels in `run.json` is that of the benchmark, and it was scored
on all test rows; nothing goes by name. Each file lies under OUT/RUN/.eval_results/, ready for the model's repository.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jal_hf.cli.leaderboard import board_text
from jal_hf.ground.record import RunRecord
from jal_hf.hub.benchmark import read_evaluation_yaml
from jal_hf.hub.card_index import run_folders
from jal_hf.hub.evaluation_results import place_in, result_entry, result_file
from jal_hf.hub.leaderboard import Board, BoardRow, ranked
from jal_hf.noise.benchmark import open_benchmark


def published_board(cards: Path, benchmark: str, dataset: str, out: Path | None = None) -> Board:
    """The table of the runs below `cards`, and their result files below `out`.

    Args:
        cards: A folder with a folder for each run, which holds its `run.json`.
        benchmark: Folder or Hub id of the benchmark.
        dataset: Hub id that the entries name.
        out: Where the files go; None writes none.
    """
    opened = open_benchmark(benchmark)
    rows, refused = [], []
    for folder in run_folders(cards):
        record = RunRecord.read(folder)
        try:
            place = replace(place_in(opened, record), dataset=dataset)
        except ValueError as error:
            refused.append((folder.name, str(error)))
            continue
        name, content = result_file(record, place)
        if out is not None:
            (out / folder.name / name).parent.mkdir(parents=True, exist_ok=True)
            (out / folder.name / name).write_bytes(content)
        entry = result_entry(record, place)
        date = str(entry.date or "")[:10]
        rows.append(BoardRow(folder.name, place.task, entry.value, False, date, entry.notes, name))
    facts = read_evaluation_yaml(opened.file("eval.yaml", 65_536).read_bytes(), dataset)
    return Board(dataset, facts, ranked(rows, facts.tasks), tuple(refused), len(rows) + len(refused))


def main(words: Sequence[str] | None = None) -> int:
    """Write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cards", type=Path, help="Folder with a folder for each run.")
    parser.add_argument("--benchmark", required=True, help="Folder or Hub id of the benchmark.")
    parser.add_argument("--dataset", required=True, help="OWNER/NAME of the benchmark on the Hub.")
    parser.add_argument("--out", type=Path, help="Folder for the result files.")
    asked = parser.parse_args(words)
    board = published_board(asked.cards, asked.benchmark, asked.dataset, asked.out)
    print(board_text(replace(board, refused=())))
    print(f"{len(board.refused)} runs were trained on other labels or scored on other rows.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
