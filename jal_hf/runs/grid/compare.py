"""A whole grid: what is left of it trained, its results, tables and plots written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jal_hf.analysis.grid_plots import plot_grid
from jal_hf.analysis.tables import grid_table, write_tables
from jal_hf.ground.files import check_writable
from jal_hf.hub import add_comparisons
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import Cell, check_grid
from jal_hf.runs.grid.ledger import GridLedger
from jal_hf.runs.grid.schedule import run_cells
from jal_hf.runs.grid.shared_gpu import shared_gpu
from jal_hf.runs.grid.side_by_side import find_jobs
from jal_hf.runs.grid.workers import WorkerPool, cuda_devices, worker_settings
from jal_hf.runs.lock import held


@dataclass(frozen=True)
class GridResult:
    """`table` is the Markdown table, None when no cell has a result; `failures` says why cells failed."""

    folder: Path
    table: Path | None
    failures: Mapping[Cell, str]


def compare(
    config: RunConfig,
    cells: Sequence[Cell],
    out: str | Path,
    *,
    jobs: int | str | None = None,
    mps: str = "auto",
) -> GridResult:
    """Train what is left of a grid in worker processes; the same call goes on with one that was stopped.

    Args:
        config: What all cells share.
        cells: From `plan_cells`.
        out: The grid's folder.
        jobs: Cells trained side by side; None is one a GPU, or one on a CPU; 'auto' finds how many are fastest.
        mps: NVIDIA's Multi-Process Service for cells that share a GPU: 'auto', 'on' or 'off'; see `shared_gpu`.

    Raises:
        ValueError: A grid that cannot be trained, before anything is.
        FileExistsError: Somebody else's files lie in the folder, or another process works on its grid.
        SharingError: `mps` is 'on' and the service cannot be had.
    """
    if (isinstance(jobs, str) and jobs != "auto") or (isinstance(jobs, int) and jobs < 1):
        raise ValueError(f"--jobs must be a number of at least 1 or 'auto', got {jobs!r}.")
    first = check_grid(config, cells, out)
    ledger = GridLedger(out)
    check_writable(ledger.folder)
    ledger.refuse_foreign_files()
    with held(ledger.folder):
        return _compare(config, cells, ledger, first, jobs, mps)


def _compare(
    config: RunConfig,
    cells: Sequence[Cell],
    ledger: GridLedger,
    first: RunConfig,
    jobs: int | str | None,
    mps: str,
) -> GridResult:
    out = ledger.folder
    ledger.begin(config, cells)
    args = first.arguments()
    devices = [] if args.use_cpu else cuda_devices()
    known = 1 if jobs is None else min(jobs, len(cells)) if isinstance(jobs, int) else None
    with shared_gpu(mps, known, len(devices)):
        if isinstance(jobs, str):
            jobs = find_jobs(first, cells, devices)
        side_by_side = min(jobs or max(1, len(devices)), len(cells))
        pool = WorkerPool(worker_settings(config, cells), out, side_by_side, devices)
        try:
            failures = run_cells(
                cells, ledger, pool.train, pool.close, jobs=side_by_side, epochs=args.num_train_epochs
            )
        finally:
            pool.close()
    return GridResult(out, write_report(cells, ledger), failures)


def write_report(cells: Sequence[Cell], ledger: GridLedger) -> Path | None:
    """Tables, plots and the comparison on each run's card, from the results so far."""
    results = ledger.results()
    if not results:
        return None
    order = ledger.order(cells)
    add_comparisons(results, ledger.folder)
    table = grid_table(results, ledger.failures(), order["losses"], order["noises"])
    markdown, _ = write_tables(table, ledger.folder)
    plot_grid(table, ledger.folder)
    return markdown
