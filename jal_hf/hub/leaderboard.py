"""The results of models on a benchmark, gathered from their repositories on the Hub.

Three places are asked: the Hub's own board of the dataset, where there is one; the models whose cards name it; and
models that the caller names. What counts is the result file in each model's repository, and for a model without one the
`model-index` of its card. All of it was written by strangers.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from huggingface_hub import HfApi, RepoFile
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.errors import HTTPError as ClientError  # type: ignore[attr-defined]
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import model_index_to_eval_results

from jal_hf.ground.sentences import did_you_mean, listed, shortened
from jal_hf.hub.benchmark import EVALUATION, FRAMEWORK, BenchmarkFacts, read_evaluation_yaml
from jal_hf.hub.evaluation_results import FOLDER, parse_results
from jal_hf.hub.metadata import HUB_ID
from jal_hf.hub.strange_yaml import MOST_BYTES, read_strange_yaml
from jal_hf.hub.text import clean
from jal_hf.hub.transfer import explain, with_timeout
from jal_hf.noise.hub_files import hub_file

MOST_MODELS, MOST_FILES, MOST_ROWS = 500, 20, 20
_RESULT_FILE = re.compile(r"\.eval_results/[A-Za-z0-9][\w.+-]{0,150}\.ya?ml")
_MOST_CARD_BYTES = 1_000_000
_SECONDS = 30.0
_Entry = tuple[str, float]
"""File and value of an entry, which is what the Hub's board tells of it."""


@dataclass(frozen=True)
class BoardRow:
    """One result.

    Attributes:
        rank: Place within the task, from 1; equal values share one.
        model: The model's Hub id.
        task: The task.
        value: As the file says; for `jal_hf` accuracy in percent.
        verified: Whether the Hub itself has verified it; else it is what the model's owner reports.
        date: Of the evaluation, as reported.
        notes: As reported.
        source: File in the model's repository.
    """

    model: str
    task: str
    value: float
    verified: bool
    date: str
    notes: str
    source: str
    rank: int = 0


@dataclass(frozen=True)
class Board:
    """The table of a benchmark.

    Attributes:
        dataset: Its Hub id.
        benchmark: What its `eval.yaml` says.
        rows: By task, the best first.
        refused: (model, why) of what was left out.
        models: How many models were looked at.
    """

    dataset: str
    benchmark: BenchmarkFacts
    rows: tuple[BoardRow, ...]
    refused: tuple[tuple[str, str], ...]
    models: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "dataset": self.dataset,
            "name": self.benchmark.name,
            "evaluation_framework": self.benchmark.framework,
            "tasks": list(self.benchmark.tasks),
            "models": self.models,
            "rows": [asdict(row) for row in self.rows],
            "refused": [{"model": model, "reason": reason} for model, reason in self.refused],
        }


def read_board(dataset: str, task: str | None = None, models: Sequence[str] = ()) -> Board:
    """Gather the results on a benchmark.

    Args:
        dataset: OWNER/NAME of a dataset on the Hub with an `eval.yaml`.
        task: Only this one.
        models: Models to look at besides those that the Hub names.

    Raises:
        ValueError: A name that cannot be, an unknown task, or an `eval.yaml` that cannot be read.
        FileNotFoundError: No such dataset, or one without an `eval.yaml`.
        ConnectionError: The Hub cannot be asked.
    """
    for name in (dataset, *models):
        if not HUB_ID.fullmatch(name):
            raise ValueError(f"{shortened(name)!r} is no name of a repository; write OWNER/NAME.")
    path = hub_file(dataset, EVALUATION, most_bytes=MOST_BYTES)
    benchmark = read_evaluation_yaml(path.read_bytes(), dataset)
    if task is not None and task not in benchmark.tasks:
        raise ValueError(
            f"The benchmark {dataset} has no task {shortened(task)!r};{did_you_mean(task, benchmark.tasks)} it has "
            f"{listed(benchmark.tasks)}."
        )
    with_timeout(_SECONDS)
    api = HfApi()
    verified = _verified(api, dataset)
    try:
        listing = api.list_models(filter=f"dataset:{dataset}", expand=["lastModified"])
        carded = [str(info.id) for info in islice(listing, MOST_MODELS)]
    except (HfHubHTTPError, ClientError, OfflineModeIsEnabled) as error:
        raise ConnectionError(f"The Hub did not list the models on {dataset}: {explain(error)}.") from error
    wanted = [name for name in dict.fromkeys([*models, *verified, *carded]) if HUB_ID.fullmatch(name)]
    rows: list[BoardRow] = []
    refused: list[tuple[str, str]] = []
    for model in wanted[:MOST_MODELS]:
        found = _from_files(api, model, dataset, benchmark, refused)
        if found is None:
            found = _from_card(model, dataset, benchmark, refused)
        rows += _bounded(model, _marked(found, verified.get(model, Counter())), refused)
    kept = [row for row in rows if task in (None, row.task)]
    return Board(dataset, benchmark, ranked(kept, benchmark.tasks), tuple(refused), len(wanted))


def _marked(rows: Iterable[BoardRow], verified: Counter[_Entry]) -> list[BoardRow]:
    """Rows with what the Hub has verified; of entries that it does not tell apart all or none are."""
    found = list(rows)
    like = Counter((row.source, row.value) for row in found)
    return [
        replace(row, verified=verified[row.source, row.value] >= like[row.source, row.value]) for row in found
    ]


def _bounded(model: str, rows: Iterable[BoardRow], refused: list[tuple[str, str]]) -> Iterator[BoardRow]:
    """At most `MOST_ROWS` of a model's rows in each task, verified ones first; what is over goes to `refused`."""
    counts: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: not row.verified):
        counts[row.task] += 1
        if counts[row.task] <= MOST_ROWS:
            yield row
    for task, count in counts.items():
        if count > MOST_ROWS:
            refused.append((model, f"{count:,} results in the task {task}, of which {MOST_ROWS} are shown"))


def _verified(api: HfApi, dataset: str) -> dict[str, Counter[_Entry]]:
    """Models on the Hub's own board, each with the entries it has verified; empty where there is no board."""
    known = inspect.signature(HfApi.get_dataset_leaderboard).parameters
    every: Any = {"base_model_only": False} if "base_model_only" in known else {}  # fine-tuned models too
    try:
        entries = api.get_dataset_leaderboard(dataset, **every)
    except (HfHubHTTPError, ClientError, OfflineModeIsEnabled, KeyError, TypeError, ValueError):
        return {}  # a dataset without a board, a Hub that knows none, or an answer of another form
    found: dict[str, Counter[_Entry]] = {}
    for entry in entries:
        verified = found.setdefault(str(entry.model_id), Counter())
        if entry.verified is True:
            name = str(entry.filename)
            verified[name if name.startswith(FOLDER) else f"{FOLDER}/{name}", entry.value] += 1
    return found


def _from_files(
    api: HfApi, model: str, dataset: str, benchmark: BenchmarkFacts, refused: list[tuple[str, str]]
) -> list[BoardRow] | None:
    """Results in the model's repository, None where it has no such files; what cannot be used goes to `refused`."""
    try:
        tree = [item for item in api.list_repo_tree(model, FOLDER) if isinstance(item, RepoFile)]
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, ClientError, OfflineModeIsEnabled, KeyError, TypeError, ValueError) as error:
        refused.append((model, f"its files cannot be listed ({clean(type(error).__name__)})"))
        return []
    if len(tree) > MOST_FILES:
        refused.append((model, f"{len(tree):,} result files, of which {MOST_FILES} are read"))
    rows: list[BoardRow] = []
    for item in tree[:MOST_FILES]:
        try:
            if not _RESULT_FILE.fullmatch(item.path):
                raise ValueError("a name that no result file has")
            path = hub_file(model, item.path, most_bytes=MOST_BYTES, repo_type="model")
            content = read_strange_yaml(path.read_bytes(), item.path)
            rows += _rows(
                model, item.path, parse_results(content, _most_value(benchmark)), dataset, benchmark
            )
        except (ValueError, OSError) as error:
            refused.append((model, clean(f"{item.path}: {error}")))
    return rows


def _rows(
    model: str,
    source: str,
    results: Iterable[Mapping[str, Any]],
    dataset: str,
    benchmark: BenchmarkFacts,
) -> list[BoardRow]:
    own = [result for result in results if result["dataset"] == dataset]
    unknown = [result["task"] for result in own if result["task"] not in benchmark.tasks]
    if unknown:
        raise ValueError(f"a task that {dataset} does not have: {shortened(unknown[0])!r}")
    return [
        BoardRow(model, result["task"], result["value"], False, result["date"][:10], result["notes"], source)
        for result in own
    ]


def _from_card(
    model: str, dataset: str, benchmark: BenchmarkFacts, refused: list[tuple[str, str]]
) -> list[BoardRow]:
    """Accuracies in the `model-index` of a card: the dataset's config names the task; fractions become percent."""
    try:
        path = hub_file(model, "README.md", most_bytes=_MOST_CARD_BYTES, repo_type="model")
        block = REGEX_YAML_BLOCK.search(path.read_text(encoding="utf-8"))
        metadata = read_strange_yaml(block.group(2), "its card") if block else {}
        index = metadata.get("model-index") or []
        results = model_index_to_eval_results(index)[1] if index else []
        found = []
        for result in results[:200]:
            task = result.dataset_config if len(benchmark.tasks) > 1 else benchmark.tasks[0]
            value = result.metric_value
            if (result.dataset_type, result.metric_type) == (dataset, "accuracy") and task in benchmark.tasks:
                percent = 100.0 * value if 0.0 <= value <= 1.0 else value
                found.append({"dataset": {"id": dataset, "task_id": task}, "value": percent})
        parsed = parse_results(found, _most_value(benchmark)) if found else []
        return _rows(model, "README.md", parsed, dataset, benchmark)
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        refused.append((model, clean(f"the results of its card: {error}")))
        return []


def _most_value(benchmark: BenchmarkFacts) -> float:
    return 100.0 if benchmark.framework == FRAMEWORK else 1e9


def ranked(rows: Sequence[BoardRow], tasks: Sequence[str]) -> tuple[BoardRow, ...]:
    """Rows by task in the order of `tasks`, the best first, with their ranks."""
    order = sorted(rows, key=lambda row: (tasks.index(row.task), -row.value, row.model, row.source))
    places: Counter[str] = Counter()
    first: dict[tuple[str, float], int] = {}
    for row in order:
        places[row.task] += 1
        first.setdefault((row.task, row.value), places[row.task])
    return tuple(replace(row, rank=first[row.task, row.value]) for row in order)
