"""What a grid has done so far: `results.jsonl`, `failures.jsonl`, and the settings it was started with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jal_hf.training.grid import Cell
from jal_hf.training.settings import explicit_flags

# Flags that change nothing about a result, so a grid may go on with others.
_HARMLESS = frozenset({"disable_tqdm", "log_level", "dataloader_num_workers", "push_to_hub", "report_to"})


class GridLedger:
    """The grid's files in its folder. A line is written whole or, after a kill, not counted."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def begin(self, arguments: Sequence[str], cells: Iterable[Cell]) -> None:
        """Make the folder, check that a grid already in it has the same settings, forget failures to retry.

        Raises:
            ValueError: The folder holds a grid with other settings; the differing flag is named.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = {
            key: value for key, value in explicit_flags(arguments).items() if key not in _HARMLESS
        }  # fmt: skip
        asked = json.loads(json.dumps({"recipe": "digits", **asked}, default=str, sort_keys=True))
        cells = list(cells)
        order = self.order(cells)
        path = self.folder / "grid.json"
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            for key in sorted({*before, *asked} - {"order"}):
                if before.get(key) != asked.get(key):
                    raise ValueError(
                        f"{self.folder} holds a grid made with {key} {_said(before.get(key))}, and now it is "
                        f"{_said(asked.get(key))}. Give the same flags to go on with it, or another --out."
                    )
        _write_whole(path, json.dumps({**asked, "order": order}, indent=1) + "\n")
        retried = {(cell.loss, cell.noise, cell.seed) for cell in cells}
        self._rewrite("results.jsonl", self.results())
        self._rewrite("failures.jsonl", [line for line in self.failures() if _key(line) not in retried])

    def order(self, cells: Iterable[Cell]) -> dict[str, list[str]]:
        """All losses and noises of the grid in the order of its table.

        That of the command (`cells`) when it names them all; else the order so far, with what is new at the end.
        """
        path = self.folder / "grid.json"
        before = json.loads(path.read_text(encoding="utf-8")).get("order", {}) if path.is_file() else {}
        cells, lines = list(cells), self.results()
        return {
            "losses": _ordered([cell.loss for cell in cells], before.get("losses", ()), lines, "loss"),
            "noises": _ordered([cell.noise for cell in cells], before.get("noises", ()), lines, "noise"),
        }

    def results(self) -> list[dict[str, Any]]:
        """One mapping for each finished cell, in the order they finished; the last line of a cell counts."""
        latest = {_key(line): line for line in _complete_lines(self.folder / "results.jsonl")}
        return list(latest.values())

    def failures(self) -> list[dict[str, Any]]:
        """One mapping for each cell that failed and has not been tried again."""
        return _complete_lines(self.folder / "failures.jsonl")

    def finished(self) -> set[Cell]:
        """The cells with a result."""
        return {Cell(*_key(line)) for line in self.results()}

    def add_result(self, cell: Cell, record: Mapping[str, Any]) -> dict[str, Any]:
        """Append the essential figures of a finished cell's record."""
        line = result_line(cell, record)
        self._append("results.jsonl", line)
        return line

    def add_failure(self, cell: Cell, error: str) -> dict[str, Any]:
        """Append why a cell failed."""
        line = {"loss": cell.loss, "noise": cell.noise, "seed": cell.seed, "status": "failed", "error": error}
        line["folder"] = cell.folder
        self._append("failures.jsonl", line)
        return line

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Drop a line cut off by a kill, so that the next one starts on its own."""
        path = self.folder / name
        if lines:
            _write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        else:
            path.unlink(missing_ok=True)


def result_line(cell: Cell, record: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's line: what was run and what came out, rates and accuracies as fractions in [0, 1]."""
    last, best = record["metrics"]["last"] or {}, record["metrics"]["best"] or {}
    train, training = record["metrics"]["train"] or {}, record["training"]
    noise = record["noise"] or {}
    return {
        "loss": cell.loss,
        "noise": cell.noise,
        "seed": cell.seed,
        "status": "finished",
        "accuracy": last.get("accuracy"),
        "best_accuracy": best.get("accuracy"),
        "best_epoch": best.get("epoch"),
        "top5_accuracy": last.get("top5_accuracy"),
        "clean_accuracy": train.get("clean_accuracy"),
        "memorized_rate": train.get("memorized_rate"),
        "realised_rate": noise.get("realised_rate"),
        "recipe": record["recipe"],
        "dataset": record["dataset"]["name"],
        "rows": record["dataset"]["rows"],
        "loss_params": record["loss"]["params"],
        "epochs": training["epochs"],
        "precision": training["precision"],
        "seconds": training["seconds"],
        "images_per_second": training["images_per_second"],
        "deviations": record["protocol"]["deviations"],
        "folder": cell.folder,
    }


def _ordered(
    asked: Iterable[str], before: Iterable[str], lines: Iterable[Mapping[str, Any]], key: str
) -> list[str]:
    asked = list(dict.fromkeys(asked))
    known = list(dict.fromkeys([*before, *(line[key] for line in lines)]))
    return asked if set(known) <= set(asked) else list(dict.fromkeys([*known, *asked]))


def _key(line: Mapping[str, Any]) -> tuple[str, str, int]:
    return line["loss"], line["noise"], line["seed"]


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    """Lines that parse; one that a kill cut off is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _said(value: Any) -> str:
    return "not given" if value is None else repr(value)
