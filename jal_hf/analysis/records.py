"""Reading a finished run: its one record and its log. Nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LogLine = Mapping[str, Any]


def read_run(folder: str | Path) -> dict[str, Any]:
    """The record `run.json` of a run's folder; FileNotFoundError when the folder holds no finished run."""
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no run.json, so it is not the folder of a finished run; "
            "give the --output_dir of a `jal-hf train` that ran to its end."
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise ValueError(
            f"{path} holds {type(record).__name__}, not the record of a run; train the run again."
        )
    return record


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of `log.jsonl`, in order, less a last line cut short by a kill; no file gives no lines."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    written = path.read_text(encoding="utf-8").splitlines()
    for number, text in enumerate(written):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            if number == len(written) - 1:
                break
            raise ValueError(f"Line {number + 1} of {path} is not JSON: {text[:80]!r}.") from None
        lines.append(line)
    return lines


def log_series(log: Sequence[LogLine], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one logged quantity; where an epoch was logged twice, the later line counts."""
    points = {
        float(line["epoch"]): float(line[key])
        for line in log
        if line.get(key) is not None and "epoch" in line
    }
    epochs = sorted(points)
    return epochs, [points[epoch] for epoch in epochs]


def run_title(record: Mapping[str, Any]) -> str:
    """`loss on dataset, noise`, as far as the record says so."""
    loss = record.get("loss", {}).get("name", "?")
    dataset = record.get("dataset", {}).get("name", "?")
    noise = record.get("noise", {}).get("spec", "none")
    return f"{loss} on {Path(str(dataset)).name}, noise {noise}"
