"""Records and result lines as runs would write them."""

from __future__ import annotations

from jal_hf.ground.record import RunRecord
from jal_hf.runs.grid.cells import Cell


def record(accuracy: float, best: float | None = None) -> RunRecord:
    """The parts of a run's record that a grid reads."""
    return RunRecord.from_dict(
        {
            "schema": 1,
            "recipe": "cifar10",
            "dataset": {"name": "uoft-cs/cifar10", "rows": 50000},
            "noise": {"realised_rate": 0.4},
            "model": {"name": "net"},
            "loss": {"name": "ce", "params": {"a": 30.0}},
            "training": {"epochs": 120.0, "precision": "fp32", "seconds": 9.0, "images_per_second": 5000.0},
            "metrics": {
                "last": {"accuracy": accuracy, "top5_accuracy": 0.9, "loss": 1.0, "epoch": 120.0},
                "best": {"accuracy": accuracy + 0.01 if best is None else best, "epoch": 60.0},
                "train": {"clean_accuracy": 0.8, "memorized_rate": 0.1},
            },
            "protocol": {"paper": "JAL", "deviations": []},
        }
    )


CELLS = [Cell(loss, "symmetric:0.4", seed) for seed in (0, 1) for loss in ("ce", "jal-ce")]
