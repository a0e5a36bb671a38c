"""Working through a grid: what is left to do, side by side, each outcome written down as it comes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from datasets.utils import tqdm

from jal_hf.ground.record import RunRecord
from jal_hf.ground.sentences import printable
from jal_hf.runs.grid.cells import Cell
from jal_hf.runs.grid.ledger import GridLedger

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total} cells, {elapsed}<{remaining}{postfix}"


def run_cells(
    cells: Sequence[Cell],
    ledger: GridLedger,
    train: Callable[[Cell], str | None],
    stop: Callable[[], None],
    *,
    jobs: int = 1,
    epochs: float = 1.0,
) -> dict[Cell, str]:
    """Train the cells that have no result yet.

    Args:
        train: Trains a cell so that its folder holds its record, and returns None, or returns why it failed;
            called from `jobs` threads.
        stop: Makes the running calls of `train` return; called when the grid is interrupted.
        epochs: Length of a cell's training, for the progress bar.

    Returns:
        The cells that failed, and why.
    """
    finished = ledger.finished()
    todo = [cell for cell in cells if cell.published() not in finished]
    failures: dict[Cell, str] = {}
    with (
        tqdm(total=len(cells), bar_format=_BAR, desc="grid", disable=None) as bar,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):
        done = len(cells) - len(todo)
        if bar.disable and todo:
            start = f"{len(todo)} of {len(cells)} cells to train, {jobs} at a time"
            _say(bar, f"{start}; each writes {ledger.folder}/CELL/log.jsonl")
        pending: dict[Future[str | None], Cell] = {pool.submit(train, cell): cell for cell in todo}
        try:
            while pending:
                ready, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in [one for one in pending if one in ready]:
                    cell = pending.pop(future)
                    error = future.result()
                    done += 1
                    if error is None:
                        line = ledger.add_result(cell, RunRecord.read(ledger.folder / cell.folder))
                        _say(bar, f"{done}/{len(cells)} {cell}: {_percent(line['accuracy'])}")
                    else:
                        failures[cell] = error
                        ledger.add_failure(cell, error)
                        _say(bar, f"{done}/{len(cells)} {cell}: failed, {printable(error)}")
                _show(
                    bar,
                    done,
                    [cell for future, cell in pending.items() if future.running()],
                    ledger.folder,
                    epochs,
                )
        finally:
            for future in pending:
                future.cancel()
            if pending:
                stop()
    return failures


def _say(bar: tqdm, line: str) -> None:
    """Print beside the bar, at once also into a file."""
    bar.write(line)
    sys.stdout.flush()


def _percent(accuracy: float | None) -> str:
    return "no test split" if accuracy is None else f"{100 * accuracy:.2f} %"


def _show(bar: tqdm, done: int, running: Sequence[Cell], folder: Path, epochs: float) -> None:
    """Finished cells, and the share of the running ones that their logs tell; on a terminal only."""
    if bar.disable:
        return
    share = [min(1.0, _epoch(folder / cell.folder) / epochs) for cell in running]
    bar.n = done + sum(share)
    names = "; ".join(f"{cell} {100 * part:.0f} %" for cell, part in zip(running, share, strict=True))
    bar.set_postfix_str(names, refresh=False)
    bar.refresh()


def _epoch(folder: Path) -> float:
    """Epoch of the last whole line of a running cell's log; 0 where there is none yet."""
    path = folder / "log.jsonl"
    if not path.is_file():
        return 0.0
    with path.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
        lines = log.read().decode("utf-8", errors="replace").split("\n")[:-1]
    return float(json.loads(lines[-1]).get("epoch") or 0.0) if len(lines) > 1 else 0.0
