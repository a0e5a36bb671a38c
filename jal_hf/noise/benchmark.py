"""The labels of a benchmark: a repository, or a folder, that `jal-hf benchmark` wrote.

It holds no images: `benchmark.json` says what was drawn from what, and `labels/TASK.parquet` gives, row by row, the
noisy labels of each seed, the clean label and the hash of the image they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jal_hf.ground.files import JsonObject, read_object
from jal_hf.ground.sentences import did_you_mean, listed, shortened
from jal_hf.noise.array_files import read_columns
from jal_hf.noise.hub_files import hub_file
from jal_hf.noise.keyed import UInt64
from jal_hf.noise.label_file import LabelFileNoise
from jal_hf.noise.report import labels_sha256
from jal_hf.noise.spec import join_spec

MANIFEST, INDEX = "benchmark.json", "index"
MOST_MANIFEST_BYTES, MOST_LABEL_BYTES = 8_000_000, 2_000_000_000
TASK_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""What a task is called: nothing in it can lead out of the folder."""
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w./-]{1,100}))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def label_file(task: str) -> str:
    """Where a task's labels lie in the repository."""
    return f"labels/{task}.parquet"


def label_column(seed: int | str) -> str:
    """The column of a draw."""
    return f"label_seed{seed}"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's manifest, checked as far as it is relied on.

    Attributes:
        name: Hub id, or the folder as it was given.
        revision: Commit it was read at; None for a folder.
        folder: Where it lies on this machine; None for one on the Hub.
        manifest: Content of its `benchmark.json`.
    """

    name: str
    revision: str | None
    folder: Path | None
    manifest: JsonObject

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """The tasks by their names."""
        found: Mapping[str, Mapping[str, Any]] = self.manifest["tasks"]
        return found

    def task(self, name: str) -> Mapping[str, Any]:
        """One task. Raises ValueError, with what exists, for an unknown one."""
        if name not in self.tasks:
            raise ValueError(
                f"The benchmark {self.name} has no task {shortened(name)!r};{did_you_mean(name, self.tasks)} "
                f"it has {listed(self.tasks)}."
            )
        return self.tasks[name]

    def draw(self, task: str, seed: str | None) -> tuple[str, Mapping[str, Any]]:
        """(seed, its facts) of a task's draw; None takes the first. Raises ValueError for one that is not there."""
        draws = self.task(task)["draws"]
        seed = next(iter(draws)) if seed is None else seed
        if seed not in draws:
            raise ValueError(
                f"The task {task} of {self.name} has no seed {shortened(seed)}; it has {', '.join(draws)}."
            )
        return seed, draws[seed]

    def file(self, name: str, most_bytes: int) -> Path:
        """One of its files on this machine, fetched if need be; raises as `hub_file`."""
        if self.folder is None:
            return hub_file(self.name, name, most_bytes=most_bytes, revision=self.revision)
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{self.name} has no {name}.")
        return path


def open_benchmark(place: str) -> Benchmark:
    """Read the manifest of a benchmark.

    Args:
        place: `OWNER/NAME`, `OWNER/NAME@REVISION`, or a folder, which is looked for first.

    Raises:
        FileNotFoundError: There is no such repository, or it is no benchmark of `jal-hf benchmark`.
        ValueError: The name or the manifest cannot be.
        ConnectionError: The Hub cannot be asked.
    """
    folder, found = Path(place).expanduser(), _HUB_ID.fullmatch(place)
    if folder.is_dir():
        return Benchmark(place, None, folder, _manifest(folder / MANIFEST, place))
    if found is None:
        raise ValueError(
            f"{shortened(place)!r} is no benchmark: give OWNER/NAME of a dataset on the Hub, or a folder that "
            "`jal-hf benchmark` wrote."
        )
    name, asked = found.groups()
    path = hub_file(name, MANIFEST, most_bytes=MOST_MANIFEST_BYTES, revision=asked)
    return Benchmark(name, path.parent.name, None, _manifest(path, name))


def split_place(source: str) -> tuple[str, str]:
    """(place, task) of `OWNER/NAME#TASK`. Raises ValueError where one is missing."""
    place, _, task = source.rpartition("#")
    if not place or not task:
        raise ValueError(f"The benchmark {shortened(source)!r} names no task; write OWNER/NAME#TASK.")
    return place, task


class BenchmarkNoise(LabelFileNoise):
    """One draw of a benchmark's labels, compared with the manifest, the clean labels and the images.

    The spec names the commit, so that the same labels come again even if the repository changes.

    Args:
        source: `OWNER/NAME[@REVISION]#TASK`, or a folder in place of the id.
        seed: Which draw; None takes the first.
    """

    kind = "benchmark"

    def __init__(
        self,
        source: str,
        seed: str | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        place, task = split_place(source)
        benchmark = open_benchmark(place)
        self.seed, facts = benchmark.draw(task, seed)
        given = benchmark.task(task).get("reference")
        if given is not None:
            raise ValueError(
                f"The task {task} of {benchmark.name} holds no labels: they are somebody else's, and named alone "
                f"({shortened(given, 200)}). Train with --noise 'human:FILE#COLUMN' or 'labels:FILE#COLUMN' on your "
                f"own copy; `jal-hf push RUN REPO --benchmark {benchmark.name}:{task}` compares it with their SHA-256."
            )
        path = benchmark.file(label_file(task), MOST_LABEL_BYTES)
        super().__init__(f"{path}#{label_column(self.seed)}", num_classes, class_names)
        numbers = _row_numbers(path, benchmark.name, len(self._labels))
        self._order = np.argsort(numbers)
        self._numbers = numbers[self._order]
        if self._numbers[-1] != len(numbers) - 1:  # rows of a larger whole, of which no count is known
            self.rows = None
        revision = f"@{benchmark.revision}" if benchmark.revision else ""
        self.source = f"{benchmark.name}{revision}#{task}"
        if labels_sha256(self._labels) != facts["labels_sha256"]:
            raise ValueError(f"The labels of {self.spec!r} are not those that its {MANIFEST} describes.")

    @property
    def spec(self) -> str:
        return join_spec(self.kind, self.source, {"seed": self.seed})

    def _places(self, keys: UInt64) -> NDArray[np.intp]:
        places = np.minimum(np.searchsorted(self._numbers, keys), len(self._numbers) - 1)
        absent = self._numbers[places] != keys
        if absent.any():
            raise ValueError(
                f"The task of {self.spec!r} has no row {int(keys[absent][0])}, for which the dataset asks; give the "
                "dataset and split that the benchmark was made from."
            )
        return self._order[places]


def _row_numbers(path: Path, name: str, rows: int) -> UInt64:
    """The column `index` of a task: each row's number in its source."""
    found = np.asarray(read_columns(path).get(INDEX, ()))
    if (
        found.shape != (rows,)
        or rows == 0
        or found.dtype.kind not in "iu"
        or found.min() < 0
        or len(np.unique(found)) != rows
    ):
        raise ValueError(f"The file {path.name} of {name} has no column {INDEX!r} of row numbers.")
    return found.astype(np.uint64)


def _manifest(path: Path, name: str) -> JsonObject:
    if not path.is_file():
        raise FileNotFoundError(f"{name} has no {MANIFEST}, so it is no benchmark of `jal-hf benchmark`.")
    if path.stat().st_size > MOST_MANIFEST_BYTES:
        raise ValueError(f"The {MANIFEST} of {name} is larger than {MOST_MANIFEST_BYTES:,} bytes.")
    try:
        content = read_object(path)
    except ValueError as error:
        raise ValueError(f"The {MANIFEST} of {name} cannot be read as JSON.") from error
    tasks, test = content.get("tasks"), content.get("test")
    if not isinstance(tasks, dict) or not tasks or not isinstance(test, dict):
        raise ValueError(f"The {MANIFEST} of {name} names no tasks or no test split.")
    for task, facts in tasks.items():
        if not TASK_NAME.fullmatch(task) or not _is_task(facts):
            raise ValueError(
                f"The {MANIFEST} of {name} describes the task {shortened(task)!r} in no usable way."
            )
    return content


def _is_task(facts: Any) -> bool:
    draws = facts.get("draws") if isinstance(facts, dict) else None
    return (
        isinstance(draws, dict)
        and bool(draws)
        and isinstance(facts.get("spec"), str)
        and isinstance(facts.get("reference"), str | None)
        and all(
            re.fullmatch(r"\d{1,10}", seed)
            and isinstance(draw, dict)
            and isinstance(draw.get("labels_sha256"), str)
            and _SHA256.fullmatch(draw["labels_sha256"])
            for seed, draw in draws.items()
        )
    )
