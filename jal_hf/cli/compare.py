"""`jal-hf compare`: a grid of losses, noises and seeds, and the table of it."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from jal_hf.training.building import load_data
from jal_hf.training.grid import (
    Cell,
    cell_settings,
    check_grid,
    plan_cells,
    split_losses,
    split_noises,
    split_seeds,
)
from jal_hf.training.grid_results import GridLedger
from jal_hf.training.grid_run import run_cells
from jal_hf.training.grid_workers import WorkerPool, cuda_devices, serve_cells
from jal_hf.training.recipes import load_recipe
from jal_hf.training.settings import RunSettings, explicit_flags

NAME = "compare"
HELP = "train a grid of losses, noises and seeds, and tabulate it as the papers do"

EXIT_SOME_FAILED = 1
EXIT_STOPPED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[:1].upper()}{message[1:]}. `jal-hf compare --help` explains each flag.")


def parser() -> argparse.ArgumentParser:
    """The parser of what is compare's own; RECIPE and every other flag are those of `jal-hf train`."""
    result = _Parser(
        prog="jal-hf compare",
        usage="jal-hf compare [RECIPE] --losses a,b [--noises s1,s2] [--seeds 0,1,2] [--out DIR] [--jobs N] "
        "[FLAGS of jal-hf train]",
        description="Train every loss under every noise with every seed, each in its own folder, and write "
        "the table of last-epoch test accuracies as the papers print it. A grid that was stopped or killed "
        "goes on with the same command. Every flag of `jal-hf train` applies to all cells.",
        epilog="Example: jal-hf compare digits --losses ce,gce,jal-ce --noises symmetric:0.4,asymmetric:0.4 "
        "--seeds 0,1,2 --num_train_epochs 20",
        allow_abbrev=False,
    )
    result.add_argument(
        "--losses", required=True, help="Losses by registry name, e.g. ce,gce,nce+rce,jal-ce."
    )
    result.add_argument(
        "--noises", help="Noise specs, e.g. symmetric:0.4,asymmetric:0.4; default: the recipe's."
    )
    result.add_argument(
        "--seeds", default="0,1,2", help="Seeds of training and noise; default 0,1,2 as in the papers."
    )
    result.add_argument("--out", metavar="DIR", help="Folder of the grid; default runs/compare-RECIPE.")
    result.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="Cells trained side by side; several share a GPU, and several GPUs are used in turn. "
        "Default: one a GPU, or one on a CPU.",
    )
    result.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return result


def main(argv: Sequence[str]) -> int:
    """Train what is left of the grid, write results, tables and plots, print the table.

    Returns:
        0, or 1 when a cell failed, or 130 when it was stopped by Ctrl-C.

    Raises:
        ValueError: A grid that cannot be trained, before anything is.
    """
    own, shared = parser().parse_known_args(list(argv))
    recipe = load_recipe(explicit_flags(shared).get("recipe", "digits"))
    cells = plan_cells(
        split_losses(own.losses),
        split_noises(own.noises or str(recipe.settings.get("noise", "none"))),
        split_seeds(own.seeds),
    )
    out = own.out or f"runs/compare-{recipe.name}"
    if own.worker:
        serve_cells(_CellTrainer(shared, out), out)
    if own.jobs is not None and own.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {own.jobs}.")
    settings = check_grid(shared, cells, out)
    ledger = GridLedger(out)
    ledger.begin(shared, cells)
    devices = [] if settings.training.use_cpu else cuda_devices()
    jobs = min(own.jobs or max(1, len(devices)), len(cells))
    pool = WorkerPool([sys.executable, "-m", "jal_hf", "compare", *argv, "--worker"], out, jobs, devices)
    try:
        failures = run_cells(
            cells, ledger, pool.train, pool.close, jobs=jobs, epochs=settings.training.num_train_epochs
        )
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on with the grid.", file=sys.stderr)
        return EXIT_STOPPED
    finally:
        pool.close()
    _report(cells, ledger)
    for cell, error in failures.items():
        print(f"failed: {cell}: {error}", file=sys.stderr)
    return EXIT_SOME_FAILED if failures else 0


class _CellTrainer:
    """Trains cells one after another; the data stays loaded while noise and seed stay the same."""

    def __init__(self, shared: Sequence[str], out: str) -> None:
        self.shared = shared
        self.out = out
        self._key: tuple[Any, ...] | None = None
        self._data: Any = None

    def __call__(self, cell: Cell) -> None:
        from jal_hf.analysis import plot_run
        from jal_hf.cli.train import finish
        from jal_hf.hub import write_card

        settings = cell_settings(self.shared, cell, self.out)
        folder = Path(self.out, cell.folder)
        if (folder / "run.json").is_file():
            # Killed after training, before the result was written down.
            plot_run(folder)
            write_card(folder)
            return
        finish(settings, self._loaded(settings))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _loaded(self, settings: RunSettings) -> Any:
        key = (*dataclasses.astuple(settings.data), settings.training.seed)
        if key != self._key:
            self._key, self._data = key, load_data(settings)
        return self._data


def _report(cells: Sequence[Cell], ledger: GridLedger) -> None:
    from jal_hf.analysis.grid_plots import plot_grid
    from jal_hf.analysis.tables import grid_table, write_tables
    from jal_hf.hub import add_comparisons

    results = ledger.results()
    if not results:
        return
    order = ledger.order(cells)
    add_comparisons(results, ledger.folder)
    table = grid_table(results, ledger.failures(), order["losses"], order["noises"])
    markdown, latex = write_tables(table, ledger.folder)
    plot_grid(table, ledger.folder)
    print(f"\n{markdown.read_text(encoding='utf-8')}")
    print(f"  everything is in {ledger.folder}, the table also as {latex.name}")
