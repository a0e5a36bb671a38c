"""What a grid has done so far: `results.jsonl`, `failures.jsonl`, and the settings it was started with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jal_hf.ground.files import (
    LogLine,
    append_line,
    read_lines,
    read_object,
    refuse_links,
    write_json,
    write_lines,
)
from jal_hf.ground.places import absolute_spec, without_paths
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.noise.spec import split_spec
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import Cell, in_order
from jal_hf.runs.publishing import PLACES, published_value
from jal_hf.runs.recipes import load_recipe

# Flags that change nothing about a result, so a grid may go on with others.
GRID = "grid.json"
_OWN = ("results.jsonl", "failures.jsonl", "table.md", "table.tex", "plots", "logs")
_HARMLESS = frozenset({"disable_tqdm", "log_level", "dataloader_num_workers", "push_to_hub", "report_to"})


class GridLedger:
    """The grid's files in its folder. A line is written whole or, after a kill, not counted."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def begin(self, shared: RunConfig, cells: Iterable[Cell]) -> None:
        """Make the folder, check that a grid already in it has the same settings, forget failures to retry.

        Raises:
            ValueError: The folder holds a grid with other settings, or trained on a noise file of the same name and
                other content; the differing flag or noise is named.
            FileExistsError: It holds files that would be written over, and no grid was begun there; or links.
        """
        self.refuse_foreign_files()
        self.folder.mkdir(parents=True, exist_ok=True)
        public = shared.published()
        asked: LogLine = {"recipe": public.recipe, **({"fast": True} if public.fast else {})}
        asked |= {name: value for name, value in public.asked.items() if name not in _HARMLESS}
        settings = _settings(shared)
        cells = [*cells]
        noise_files = _noise_files(cells)
        cells = [cell.published() for cell in cells]
        order = self.order(cells)
        path = self.folder / GRID
        if path.is_file():
            before = read_object(path)
            begun = before.get("settings", settings)  # which grids of version 0.1 do not tell
            for key in sorted({*before, *asked} - {"order", "settings", "noise_files"}):
                self._refuse_other(
                    key, before.get(key), asked.get(key), "Give the same flags to go on with it"
                )
            for key in sorted({*begun, *settings}):
                advice = "Give it the same recipe to go on with it"
                self._refuse_other(f"the recipe's {key}", begun.get(key), settings.get(key), advice)
            noise_files = self._same_files(before.get("noise_files", {}), noise_files, cells)
        files = {"noise_files": noise_files} if noise_files else {}
        write_json(path, {**asked, "settings": settings, **files, "order": order})
        retried = set(cells)
        self._rewrite("results.jsonl", self.results())
        self._rewrite("failures.jsonl", [line for line in self.failures() if _cell(line) not in retried])

    def _refuse_other(self, key: str, before: Any, now: Any, advice: str) -> None:
        if before != now:
            raise ValueError(
                f"{self.folder} holds a grid made with {key} {_said(before)}, and now it is {_said(now)}. {advice}, or "
                "another --out."
            )

    def _same_files(
        self, before: Mapping[str, str], now: Mapping[str, str], cells: Sequence[Cell]
    ) -> dict[str, str]:
        """Digests by noise, those of this command added; grids of version 0.1 tell none."""
        trained = {cell.noise for cell in self.finished()}
        trained |= {cell.noise for cell in cells if (self.folder / cell.folder).exists()}
        for noise in sorted(trained & {*before} & {*now}):
            if before[noise] != now[noise]:
                raise ValueError(
                    f"{self.folder} holds a grid trained on another file for the noise {noise!r}: the one that is "
                    "given now has the same name and other content. Give that file to go on with it, or another --out."
                )
        return {**before, **now}

    def refuse_changed_data(self, seed: int, fingerprint: str) -> None:
        """All cells of a seed are trained on the same images and labels before noise, or their table compares nothing.

        Raises:
            ValueError: A finished cell of the seed was trained on other data than that of the fingerprint.
        """
        for line in self.results():
            folder = self.folder / str(line.get("folder"))
            if line["seed"] != seed or not fingerprint or not (folder / RECORD).is_file():
                continue
            before = RunRecord.read(folder).dataset.get("fingerprint")
            if before and before != fingerprint:
                raise ValueError(
                    f"The data has changed since {folder.name} was trained: images, file names or labels are not those "
                    "of then. Give the grid that data to go on with it, or another --out."
                )

    def refuse_foreign_files(self) -> None:
        """Nothing is written over that no grid wrote."""
        refuse_links(self.folder, [GRID, *_OWN])
        there = [name for name in _OWN if (self.folder / name).exists()]
        if there and not (self.folder / GRID).is_file():
            raise FileExistsError(
                f"{self.folder} holds {there[0]}, and no grid was begun there, so it is left alone. Choose another "
                "--out."
            )

    def order(self, cells: Iterable[Cell]) -> dict[str, list[str]]:
        """All losses and noises of the grid in the order of its table.

        That of the command (`cells`) when it names them all; else the order so far, with what is new at the end.
        """
        path = self.folder / GRID
        before = read_object(path).get("order", {}) if path.is_file() else {}
        cells, lines = [cell.published() for cell in cells], self.results()
        return {
            "losses": _ordered(
                [cell.row for cell in cells],
                [_row_in_order(row) for row in before.get("losses", ())],
                [_cell(line).row for line in lines],
            ),
            "noises": _ordered(
                [cell.noise for cell in cells], before.get("noises", ()), [line["noise"] for line in lines]
            ),
        }

    def results(self) -> list[LogLine]:
        """One mapping for each finished cell, in the order they finished; the last line of a cell counts."""
        latest = {_cell(line): line for line in self._lines("results.jsonl")}
        return list(latest.values())

    def failures(self) -> list[LogLine]:
        """One mapping for each cell that failed and has not been tried again."""
        return self._lines("failures.jsonl")

    def _lines(self, name: str) -> list[LogLine]:
        """A file's lines, methods in order: grids of version 0.2.0 wrote them as they were asked for."""
        return [
            {**line, "method": in_order(line["method"])} if "method" in line else line
            for line in read_lines(self.folder / name)
        ]

    def finished(self) -> set[Cell]:
        """The cells with a result, in the form in which they are published."""
        return {_cell(line) for line in self.results()}

    def add_result(self, cell: Cell, record: RunRecord) -> LogLine:
        """Append the essential figures of a finished cell's record."""
        line = result_line(cell, record)
        append_line(self.folder / "results.jsonl", line, durable=True)
        return line

    def add_failure(self, cell: Cell, error: str) -> LogLine:
        """Append why a cell failed."""
        said = without_paths(error, [cell.noise.partition(":")[2].partition("#")[0], str(self.folder)])
        line = {**asdict(cell.published()), "status": "failed", "error": said, "folder": cell.folder}
        append_line(self.folder / "failures.jsonl", line, durable=True)
        return line

    def _rewrite(self, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Drop a line cut off by a kill, so that the next one starts on its own."""
        path = self.folder / name
        if lines:
            write_lines(path, lines)
        else:
            path.unlink(missing_ok=True)


def result_line(cell: Cell, record: RunRecord) -> LogLine:
    """A cell's line: what was run and what came out, rates and accuracies as fractions in [0, 1]."""
    last, best, train, training = record.last, record.best, record.train, record.training
    return {
        "loss": cell.loss,
        "noise": cell.published().noise,
        "seed": cell.seed,
        **({} if cell.method == "plain" else {"method": cell.method}),
        "status": "finished",
        "accuracy": last.get("accuracy"),
        "best_accuracy": best.get("accuracy"),
        "best_epoch": best.get("epoch"),
        **({"weights_chosen_by": record.saved.get("chosen_by")} if record.saved else {}),
        "top5_accuracy": last.get("top5_accuracy"),
        "clean_accuracy": train.get("clean_accuracy"),
        "memorized_rate": train.get("memorized_rate"),
        "realised_rate": record.noise.get("realised_rate"),
        "recipe": record.recipe,
        "dataset": record.dataset["name"],
        "rows": record.dataset["rows"],
        "loss_params": record.loss["params"],
        "epochs": training["epochs"],
        "precision": training["precision"],
        "seconds": training["seconds"],
        "images_per_second": training["images_per_second"],
        "deviations": record.protocol["deviations"],
        "folder": cell.folder,
    }


def _settings(shared: RunConfig) -> LogLine:
    """What the recipe says of the result, as JSON gives it back; a file of one's own may change under a grid."""
    stated = {
        name: published_value(name, value) if name in PLACES else value
        for name, value in load_recipe(shared.recipe).settings.items()
        if name not in _HARMLESS
    }
    found: LogLine = json.loads(json.dumps(stated))
    return found


def _noise_files(cells: Iterable[Cell]) -> dict[str, str]:
    """Digest of the file's content by noise as it is published, of noises that name a file on this disk."""
    found = {}
    for cell in cells:
        path = Path((split_spec(cell.noise).argument or "").partition("#")[0]).expanduser()
        if absolute_spec(cell.noise) is not None and path.is_file():
            found[cell.published().noise] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _ordered(asked: Iterable[str], before: Iterable[str], found: Iterable[str]) -> list[str]:
    asked = list(dict.fromkeys(asked))
    known = list(dict.fromkeys([*before, *found]))
    return asked if set(known) <= set(asked) else list(dict.fromkeys([*known, *asked]))


def _row_in_order(row: str) -> str:
    """A row of the table, its methods in order."""
    loss, space, method = row.partition(" ")
    return f"{loss}{space}{in_order(method)}"


def _cell(line: Mapping[str, Any]) -> Cell:
    return Cell(line["loss"], line["noise"], line["seed"], line.get("method", "plain")).published()


def _said(value: Any) -> str:
    return "not given" if value is None else repr(value)
