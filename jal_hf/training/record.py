"""The record of a run, `run.json`: the one place that cards, tables and plots read."""

from __future__ import annotations

import json
import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SCHEMA = 1
_PACKAGES = ("jal_hf", "torch", "torchvision", "transformers", "timm", "datasets", "accelerate", "evaluate")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def epoch_figures(log: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the last evaluation, and accuracy and epoch of the best one, from the lines of a run's log.

    Raises:
        ValueError: The log holds no evaluation.
    """
    evaluations = [line for line in log if line.get("eval_accuracy") is not None]
    if not evaluations:
        raise ValueError("The log holds no evaluation, so there is no accuracy to record.")
    last = evaluations[-1]
    best = max(evaluations, key=lambda line: line["eval_accuracy"])
    figures = {
        "accuracy": last["eval_accuracy"],
        "top5_accuracy": last.get("eval_top5_accuracy"),
        "loss": last.get("eval_loss"),
        "epoch": last.get("epoch"),
    }
    if "validation_accuracy" in last:
        figures["validation_accuracy"] = last["validation_accuracy"]
    return figures, {"accuracy": best["eval_accuracy"], "epoch": best.get("epoch")}


def build_record(**sections: Any) -> dict[str, Any]:
    """Put the sections of a record together with schema, time and versions."""
    return {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        **sections,
    }


def write_record(record: dict[str, Any], folder: Path) -> Path:
    """Write `run.json` whole or not at all; its presence marks a finished run."""
    path = folder / "run.json"
    temporary = folder / ".run.json.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of a finished run.

    Raises:
        FileNotFoundError: The folder holds no `run.json`, so no run finished there.
        ValueError: The file is not a record.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no finished run: there is no run.json in it.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError(f"{path} is not the record of a run.")
    return record


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`; empty where there is none."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
