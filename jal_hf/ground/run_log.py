"""The log of a run, `log.jsonl`: its lines, a curve of them, and the figures that a record keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jal_hf.ground.files import JsonObject, LogLine, read_lines
from jal_hf.ground.record import Section

LOG = "log.jsonl"


def read_log(folder: str | os.PathLike[str]) -> list[LogLine]:
    """The lines of a run's `log.jsonl`, in order; empty where there is none."""
    return read_lines(Path(folder) / LOG)


def log_series(
    log: Sequence[Mapping[str, Any]], key: str, against: str = "epoch"
) -> tuple[list[float], list[float]]:
    """Epochs, or `seconds`, and values of one logged quantity; where an epoch was logged twice, the later counts."""
    points = {
        float(line["epoch"]): (float(line[against]), float(line[key]))
        for line in log
        if line.get(key) is not None and "epoch" in line and line.get(against) is not None
    }
    ordered = [points[epoch] for epoch in sorted(points)]
    return [place for place, _ in ordered], [value for _, value in ordered]


def evaluation_figures(log: Iterable[Mapping[str, Any]]) -> dict[str, Section | None]:
    """`last` and `best` of a record's metrics from the lines of a run's log; None where nothing was evaluated.

    The last evaluation is the headline; the best one is chosen on the test split and stands beside it.
    """
    evaluations = [line for line in log if line.get("eval_accuracy") is not None]
    validated = [line for line in log if line.get("validation_accuracy") is not None]
    if not evaluations and not validated:
        return {"last": None, "best": None}
    last: JsonObject = {}
    best: Section | None = None
    if evaluations:
        last = _test_figures(evaluations[-1])
        top = max(evaluations, key=lambda found: float(found["eval_accuracy"]))
        best = {"accuracy": top["eval_accuracy"], "epoch": top.get("epoch")}
    if validated:
        last["validation_accuracy"] = validated[-1]["validation_accuracy"]
        last.setdefault("epoch", validated[-1].get("epoch"))
    return {"last": last, "best": best}


def saved_figures(log: Iterable[Mapping[str, Any]], step: int, chosen_by: str) -> Section | None:
    """`saved` of a record's metrics: what the log tells of the weights after a step, and the metric that chose it."""
    line = {key: value for found in log if found.get("step") == step for key, value in found.items()}
    if line.get("eval_accuracy") is None and line.get("validation_accuracy") is None:
        return None
    found = _test_figures(line) if line.get("eval_accuracy") is not None else {"epoch": line.get("epoch")}
    if line.get("validation_accuracy") is not None:
        found["validation_accuracy"] = line["validation_accuracy"]
    return {**found, "chosen_by": chosen_by.removeprefix("eval_")}


def _test_figures(line: Mapping[str, Any]) -> JsonObject:
    return {
        "accuracy": line["eval_accuracy"],
        "top5_accuracy": line.get("eval_top5_accuracy"),
        "loss": line.get("eval_loss"),
        "epoch": line.get("epoch"),
    }
