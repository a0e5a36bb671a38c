"""A run's place in a benchmark: `.eval_results/NAME.yaml` in the model's repository, as the Hub's boards read it.

The value is the accuracy on the clean test split after the last epoch in percent, as on the Hub's other boards;
`run.json` and the card keep fractions. One file holds one variant: a task, a draw of its noise, a seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from jal_hf.ground.record import RunRecord
from jal_hf.ground.sentences import listed, shortened
from jal_hf.hub.metadata import HUB_ID, tag
from jal_hf.hub.text import clean
from jal_hf.noise.benchmark import Benchmark, open_benchmark, split_place
from jal_hf.noise.spec import split_spec

FOLDER = ".eval_results"


@dataclass(frozen=True)
class BenchmarkPlace:
    """What a run is scored on: a task of a benchmark, one draw of its noise.

    Attributes:
        dataset: The benchmark's Hub id.
        task: The task's name.
        seed: The draw.
        spec: The task's noise.
        revision: Commit of the benchmark.
    """

    dataset: str
    task: str
    seed: str
    spec: str
    revision: str | None

    def to_dict(self) -> dict[str, str | None]:
        """As a record's `hub` section keeps it."""
        return {"id": self.dataset, "task": self.task, "seed": self.seed, "revision": self.revision}


def named_benchmark(record: RunRecord) -> str | None:
    """`OWNER/NAME@REVISION:TASK` where the run was trained on a benchmark of the Hub by name, else None.

    Raises:
        ValueError: The record's spec cannot be.
    """
    if record.noise.get("kind") != "benchmark":
        return None
    place, task = split_place(str(split_spec(str(record.noise.get("spec", ""))).argument))
    name, mark, _ = place.partition("@")  # a folder of such a name has no revision
    return f"{place}:{task}" if mark and HUB_ID.fullmatch(name) else None


def benchmark_place(record: RunRecord, asked: str) -> BenchmarkPlace:
    """Find the task and draw that a run was trained on, by the SHA-256 of its labels.

    Args:
        record: Of a finished run.
        asked: `OWNER/NAME[@REVISION]`, with `:TASK` where only that one will do.

    Raises:
        ValueError: The run has no accuracy, its labels are none of the benchmark's, or it was scored on other rows.
        FileNotFoundError, ConnectionError: The benchmark cannot be read.
    """
    place, _, task = asked.partition(":")
    if not HUB_ID.fullmatch(place.partition("@")[0]):
        raise ValueError(
            f"{shortened(asked)!r} names no benchmark of the Hub; write OWNER/NAME or OWNER/NAME:TASK."
        )
    return place_in(open_benchmark(place), record, task or None)


def place_in(benchmark: Benchmark, record: RunRecord, task: str | None = None) -> BenchmarkPlace:
    """`benchmark_place` for a benchmark that is open; raises ValueError likewise."""
    found = [
        (name, seed)
        for name in ([task] if task else benchmark.tasks)
        for seed, draw in benchmark.task(name)["draws"].items()
        if draw["labels_sha256"] == record.noise.get("labels_sha256")
    ]
    if not found:
        where = f"the task {task}" if task else f"any of {listed(benchmark.tasks)}"
        raise ValueError(
            f"The run was trained on labels ({record.noise.get('spec', 'unknown')}, seed "
            f"{record.noise.get('seed')}) that are not those of {where} of {benchmark.name}: their SHA-256 differs. "
            "Train on all its rows and on its labels, --noise benchmark:OWNER/NAME#TASK."
        )
    test = benchmark.manifest["test"]
    rows, scored = test.get("rows"), record.dataset.get("eval_rows")
    if rows != scored:
        raise ValueError(
            f"The run was scored on {scored} test rows, the benchmark {benchmark.name} has {rows}; score it on all."
        )
    for what in ("labels", "images"):
        expected = test.get(f"{what}_sha256")
        if expected is not None and record.dataset.get(f"eval_{what}_sha256") not in (None, expected):
            raise ValueError(
                f"The run was scored on other test rows than those of {benchmark.name}: the SHA-256 of their {what} "
                "differs. Score it on the benchmark's test split, in its order."
            )
    if record.saved and record.saved.get("epoch") != record.last.get("epoch"):
        raise ValueError(
            "A benchmark's value is that of the last epoch, and the run's weights are those of "
            f"{clean(record.headline_epoch)}. Train without --load_best_model_at_end."
        )
    accuracy = record.last.get("accuracy")
    if not isinstance(accuracy, int | float) or not 0.0 <= accuracy <= 1.0:
        raise ValueError(
            "The run's record holds no accuracy of the last epoch, so there is nothing to enter."
        )
    name, seed = found[0]
    return BenchmarkPlace(benchmark.name, name, seed, str(benchmark.task(name)["spec"]), benchmark.revision)


def result_entry(record: RunRecord, place: BenchmarkPlace, repo_id: str | None = None) -> Any:
    """The run's `EvalResultEntry`.

    Args:
        record: Of a finished run.
        place: From `benchmark_place`.
        repo_id: Where its `run.json` is pushed to; without OWNER/NAME the entry names no source.
    """
    from huggingface_hub import EvalResultEntry, constants

    is_full = repo_id is not None and HUB_ID.fullmatch(repo_id)
    return EvalResultEntry(
        dataset_id=place.dataset,
        task_id=place.task,
        value=round(100.0 * float(record.last["accuracy"]), 4),
        dataset_revision=place.revision,
        date=_date(record.created),
        source_url=f"{constants.ENDPOINT}/{repo_id}/blob/main/run.json" if is_full else None,
        source_name="run.json" if is_full else None,
        notes=clean(
            f"{record.trained_with}, seed {record.seed}, last epoch; {place.spec}, noise seed {place.seed}"
        ),
    )


def result_file(record: RunRecord, place: BenchmarkPlace, repo_id: str | None = None) -> tuple[str, bytes]:
    """(path in the model's repository, content) of the file with the run's entry."""
    from huggingface_hub import eval_result_entries_to_yaml

    entries = eval_result_entries_to_yaml([result_entry(record, place, repo_id)])
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=200)
    variant = f"{place.dataset.rpartition('/')[2]}-{place.task}-noise{place.seed}-seed{record.seed}"
    return f"{FOLDER}/{tag(variant)}.yaml", text.encode()


def parse_results(content: Any, most_value: float) -> list[Mapping[str, Any]]:
    """The well-formed entries of a file that anybody can have written, as flat mappings.

    Keys: dataset, task, value (a finite number in [0, most_value]), date, notes; texts are made printable.

    Raises:
        ValueError: The file is no list of results, or one of them is not of the Hub's form.
    """
    if not isinstance(content, list) or not 0 < len(content) <= 200:
        raise ValueError("it is no list of 1 to 200 results")
    found: list[Mapping[str, Any]] = []
    for entry in content:
        dataset = entry.get("dataset") if isinstance(entry, Mapping) else None
        value = entry.get("value") if isinstance(entry, Mapping) else None
        if not isinstance(dataset, Mapping) or not all(
            isinstance(dataset.get(key), str) for key in ("id", "task_id")
        ):
            raise ValueError("a result names no dataset with id and task_id")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most_value:
            raise ValueError(f"a value is no number from 0 to {most_value:g}")
        texts = {key: clean(entry[key]) if entry.get(key) is not None else "" for key in ("date", "notes")}
        found.append({"dataset": dataset["id"], "task": dataset["task_id"], "value": float(value), **texts})
    return found


def _date(created: str) -> str | None:
    try:
        return datetime.fromisoformat(created).isoformat()
    except ValueError:
        return None
