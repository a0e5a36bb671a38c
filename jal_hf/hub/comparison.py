"""How the runs of a grid compare, noted in each run's record and shown on its card."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jal_hf.ground.files import JsonObject
from jal_hf.ground.record import RECORD, RunRecord, row_name
from jal_hf.hub.model_card import write_card


def add_comparisons(results: Sequence[Mapping[str, Any]], grid: str | os.PathLike[str]) -> list[Path]:
    """Write the comparison of all losses under the same noise into the record and the card of each run.

    Args:
        results: one mapping for each finished cell with `loss noise seed accuracy folder`; accuracies of the
            last epoch are fractions in [0, 1], folders lie below `grid`.

    Returns:
        The cards written anew. Runs whose noise was not trained on with cross entropy are left as they are.
    """
    written = []
    for noise in dict.fromkeys(line["noise"] for line in results):
        cells = [line for line in results if line["noise"] == noise and line.get("accuracy") is not None]
        rows = comparison_rows(cells)
        if not any(row["loss"] == "ce" for row in rows):
            continue
        for folder in (Path(grid, line["folder"]) for line in cells):
            if not (folder / RECORD).is_file():
                continue
            RunRecord.read(folder).replace(comparison={"noise": noise, "rows": rows}).write(folder)
            written.append(write_card(folder))
    return written


def comparison_rows(cells: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """Mean and standard deviation (ddof 1) over the seeds, a row a loss, the best first; one seed has no
    deviation.
    """
    rows = []
    for loss in dict.fromkeys(_row(line) for line in cells):
        values = [float(line["accuracy"]) for line in cells if _row(line) == loss]
        rows.append(
            {
                "loss": loss,
                "mean": statistics.fmean(values),
                "std": statistics.stdev(values) if len(values) > 1 else None,
                "seeds": len(values),
            }
        )
    return sorted(rows, key=lambda row: -row["mean"])


def _row(line: Mapping[str, Any]) -> str:
    return row_name(str(line["loss"]), line.get("method"))
