"""How many cells side by side are fastest together."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jal_hf.ground.record import RunRecord
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import Cell, cell_config
from jal_hf.runs.grid.workers import WorkerPool, worker_settings

logger = logging.getLogger(__name__)

PROBE_STEPS = 150
MOST = 16
# One more doubling must bring this much, for each further process also takes memory and time to start.
WORTH_IT = 1.1


def cores_over_threads() -> int:
    """Cells side by side on a CPU: one a core, or as many as `OMP_NUM_THREADS` leaves room for."""
    threads = os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0]
    return max(1, (os.cpu_count() or 1) // max(1, int(threads) if threads.isdigit() else 1))


def fastest(rate_of: Callable[[int], float | None], most: int) -> int:
    """The number of cells, 1, 2, 4, ... up to `most`, after which doubling it brings less than a tenth.

    Args:
        rate_of: Images a second of so many cells together; None where they do not fit.
    """
    jobs, rate = 1, rate_of(1)
    while rate is not None and 2 * jobs <= most:
        doubled = rate_of(2 * jobs)
        if doubled is None or doubled < WORTH_IT * rate:
            break
        jobs, rate = 2 * jobs, doubled
    return jobs


def probed_rate(config: RunConfig, cell: Cell, jobs: int, devices: Sequence[str]) -> float | None:
    """Images a second of a short training of one cell, `jobs` times side by side; None where one fails."""
    steps = {"max_steps": PROBE_STEPS, "max_eval_samples": 1}
    quiet = dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "no")
    # `repeated` leaves out what pushes and reports.
    short = config.repeated(**steps, **quiet, cuda_graph=config.training.get("cuda_graph", "auto"))
    cells = [Cell(cell.loss, cell.noise, seed, cell.method) for seed in range(jobs)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as threads:
        pool = WorkerPool(worker_settings(short, cells), folder, jobs, devices)
        try:
            failures = list(threads.map(pool.train, cells))
        finally:
            pool.close()
        if any(failures):
            return None
        places = [cell_config(short, one, folder).output_dir for one in cells]
        rates = [RunRecord.read(Path(place)).training.get("images_per_second") for place in places]
    return sum(float(rate or 0.0) for rate in rates)


def find_jobs(config: RunConfig, cells: Sequence[Cell], devices: Sequence[str]) -> int:
    """`--jobs auto`: cores over threads on a CPU; on GPUs what a short probe on the first of them finds, for each."""
    if not devices:
        return cores_over_threads()
    most = min(MOST, -(-len(cells) // len(devices)))
    found = fastest(lambda jobs: probed_rate(config, cells[0], jobs, devices[:1]), most) * len(devices)
    logger.warning("--jobs auto: %d cells side by side.", found)
    return found
