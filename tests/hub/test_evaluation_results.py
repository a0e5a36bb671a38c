"""Results as the Hub's boards read them: ours are well formed, and strangers' files bring nothing down."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from jal_hf.ground.record import RunRecord
from jal_hf.hub.benchmark import evaluation_yaml, read_evaluation_yaml
from jal_hf.hub.evaluation_results import named_benchmark, parse_results, place_in, result_file
from jal_hf.hub.leaderboard import MOST_ROWS, BoardRow, _bounded, _marked, _verified, ranked
from jal_hf.hub.push import _place
from jal_hf.hub.strange_yaml import read_strange_yaml
from jal_hf.noise.benchmark import Benchmark, open_benchmark
from tests.hub.records import example_record

ROOT = Path(__file__).resolve().parent.parent.parent
# Bombs, and what the YAML reader itself stumbles over.
STRANGE = {
    "references": "a: &a [x, x]\nb: [*a, *a]",
    "merges": "a: &a {x: 1}\nb: &b {<<: [*a, *a]}",
    "loop": "&a [*a]",
    "python": "!!python/object/apply:os.system ['true']",
    "own type": "!x 1",
    "timestamp": "!!timestamp x",
    "bool": "!!bool x",
    "deep": "[" * 60_000,
    "deep map": "{a: " * 20_000,
    "no such date": "a: 2026-99-99",
    "long number": "a: " + "9" * 5000,
    "open": "a: [",
    "two documents": "a: 1\n---\nb: 1",
    "no text": b"\xff\xfe\x00",
    "control": "a: \x00",
    "too long": "a: 1\n" + "#" * 65_536,
    "key of lists": "? [a]\n: 1",
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_yaml_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"^The file (has|cannot be read)") as found:
        read_strange_yaml(STRANGE[name], "The file")
    assert len(str(found.value)) < 300


def test_plain_yaml_is_read_as_the_hub_reads_it() -> None:
    text = "- dataset: {id: a/b, task_id: t}\n  value: 81.33\n  date: '2026-11-23'\n  notes: \"x: y\"\n"
    assert read_strange_yaml(text, "x") == yaml.safe_load(text)


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, "x", [1], [{}], [{"value": 1}], [{"dataset": {"id": "a/b"}, "value": 1}],
        *([{"dataset": {"id": "a/b", "task_id": "t"}, "value": value}]
          for value in (None, "81", True, -1, 100.1, float("nan"), float("inf"), 10**400, [81])),
        [{"dataset": {"id": ["a/b"], "task_id": "t"}, "value": 1}],
        [{"dataset": {"id": "a/b", "task_id": "t"}, "value": 1}] * 201,
    ],
)  # fmt: skip
def test_results_of_another_form_are_refused(content: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has a sentence of its own
        parse_results(content, 100.0)


def test_results_are_made_printable() -> None:
    entry = {
        "dataset": {"id": "a/b", "task_id": "t"},
        "value": 81,
        "notes": "\x1b[31mred\nline" + "x" * 999,
    }
    found = parse_results([entry], 100.0)[0]
    assert found["notes"].startswith("[31mred line")
    assert len(found["notes"]) <= 200
    assert (found["value"], found["date"]) == (81.0, "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no tasks"),
        ("tasks: []", "names no tasks"),
        ("tasks: {id: a}", "names no tasks"),
        ("tasks: [{config: a}]", "without an id"),
        ("tasks: [{id: 1}]", "without an id"),
        ('tasks: [{id: "a\\e[31m"}]', "without an id"),
        ("tasks: [a]", "without an id"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_evaluation_yaml_that_cannot_be_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_evaluation_yaml(text, "a/b")


def benchmark_of(record: RunRecord, name: str = "owner/board", **test: Any) -> Benchmark:
    """A benchmark with one task, whose labels are the record's."""
    task = {
        "spec": "symmetric:0.4",
        "reference": None,
        "draws": {"0": {"labels_sha256": record.noise["labels_sha256"]}},
    }
    tests = {"rows": record.dataset["eval_rows"], **test}
    return Benchmark(name, "c" * 40, None, {"tasks": {"symmetric-0.4": task}, "test": tests})


def test_entry_is_what_the_hubs_own_reader_takes() -> None:
    record = RunRecord.from_dict(example_record())
    name, content = result_file(record, place_in(benchmark_of(record), record), "me/model")
    assert name == ".eval_results/board-symmetric-0.4-noise0-seed0.yaml"
    entry = parse_eval_result_entries(read_strange_yaml(content, name))[0]
    assert (entry.dataset_id, entry.task_id, entry.value) == ("owner/board", "symmetric-0.4", 95.5556)
    assert entry.dataset_revision == "c" * 40
    assert entry.date == "2026-01-02T03:04:05+00:00"
    assert str(entry.source_url).endswith("/me/model/blob/main/run.json")
    assert entry.notes == "jal-ce, seed 0, last epoch; symmetric:0.4, noise seed 0"
    assert parse_results(yaml.safe_load(content), 100.0)[0]["value"] == 95.5556


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"noise": {"labels_sha256": "0" * 64}}, "are not those of"),
        ({"noise": {"labels_sha256": None}}, "are not those of"),
        ({"dataset": {"eval_rows": 50}}, "scored on 50 test rows, the benchmark owner/board has 360"),
        ({"dataset": {"eval_labels_sha256": "0" * 64}}, "SHA-256 of their labels differs"),
        ({"dataset": {"eval_images_sha256": "0" * 64}}, "SHA-256 of their images differs"),
        (
            {"metrics": {"saved": {"accuracy": 0.9, "epoch": 3.0, "chosen_by": "loss"}}},
            "weights are those of epoch 3, chosen by the test split's loss",
        ),
        ({"metrics": {"last": {}}}, "no accuracy of the last epoch"),
        ({"metrics": {"last": {"accuracy": 95.5}}}, "no accuracy of the last epoch"),
    ],
)
def test_run_that_did_not_follow_the_benchmark_is_refused(
    changes: dict[str, dict[str, Any]], sentence: str
) -> None:
    tests = {"labels_sha256": "1" * 64, "images_sha256": "2" * 64}
    benchmark = benchmark_of(RunRecord.from_dict(example_record()), **tests)
    with pytest.raises(ValueError, match=sentence):
        place_in(benchmark, RunRecord.from_dict(example_record(**changes)))


def board_rows(*entries: tuple[str, float], source: str = ".eval_results/a.yaml") -> list[BoardRow]:
    return [BoardRow("me/model", task, value, False, "", "", source) for task, value in entries]


def test_board_calls_the_entry_verified_that_the_hub_has_and_no_other_of_its_file() -> None:
    class Hub:
        def get_dataset_leaderboard(self, dataset: str, **options: Any) -> list[Any]:
            entry = {"model_id": "me/model", "filename": "a.yaml", "verified": True}
            return [SimpleNamespace(**entry, value=41.2), SimpleNamespace(**entry, value=50.0)]

    verified: Any = _verified(Hub(), "owner/board")["me/model"]  # type: ignore[arg-type]
    found = _marked(board_rows(("a", 41.2), ("a", 99.9), ("b", 100.0), ("a", 50.0), ("b", 50.0)), verified)
    assert [row.value for row in found if row.verified] == [41.2]
    elsewhere = board_rows(("a", 41.2), source=".eval_results/b.yaml")
    assert not _marked(elsewhere, verified)[0].verified


def test_board_takes_no_flood_from_one_model_and_ranks_many_rows_at_once() -> None:
    refused: list[tuple[str, str]] = []
    flood = board_rows(*(("a", number / 100) for number in range(4000)), ("b", 1.0))
    flood[3000] = replace(flood[3000], verified=True)
    kept = list(_bounded("me/model", flood, refused))
    assert kept[0].value == 30.0
    assert [row.task for row in kept] == ["a"] * MOST_ROWS + ["b"]
    assert refused == [("me/model", f"4,000 results in the task a, of which {MOST_ROWS} are shown")]
    begun = time.perf_counter()
    order = ranked(board_rows(*(("a", number // 2) for number in range(20_000)), ("b", 7.0)), ["b", "a"])
    assert time.perf_counter() - begun < 10
    assert [row.rank for row in order[:6]] == [1, 1, 1, 3, 3, 5]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("benchmark:owner/board@abc#task,seed=0", "owner/board@abc:task"),
        ("benchmark:runs/board#task,seed=0", None),
        ("benchmark:../x@abc#task,seed=0", None),
        ("symmetric:0.4", None),
    ],
)
def test_only_a_benchmark_of_the_hub_is_named(spec: str, named: str | None) -> None:
    kind = spec.partition(":")[0]
    record = RunRecord.from_dict(example_record(noise={"spec": spec, "kind": kind}))
    assert named_benchmark(record) == named


@pytest.mark.parametrize("spec", ["benchmark:owner/absent@abc#task,seed=0", "benchmark:x,seed=0,seed=1"])
def test_push_goes_on_without_a_result_where_the_named_benchmark_cannot_be_read(
    spec: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = RunRecord.from_dict(example_record(noise={"spec": spec, "kind": "benchmark"}))
    with caplog.at_level(logging.WARNING):
        assert _place(record, None) is None
    assert "No result of the benchmark is pushed" in caplog.text


def published_results() -> Any:
    path = ROOT / "examples" / "published_results.py"
    spec = importlib.util.spec_from_file_location("published_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def board_of_cards(tmp_path: Path) -> Path:
    """A benchmark whose checksums are those that two of the published MNIST runs carry."""
    tasks = {}
    for task, card in {
        "symmetric-0.8": "mnist-ce-symmetric-0.8-seed0",
        "asymmetric-0.4": "mnist-ce-asymmetric-0.4-seed0",
    }.items():
        noise = RunRecord.read(ROOT / "model_cards" / card).noise
        draws = {"0": {"labels_sha256": noise["labels_sha256"], "realised_rate": noise["realised_rate"]}}
        tasks[task] = {"spec": noise["spec"], "reference": None, "draws": draws}
    source = {"name": "mnist", "on_hub": False}
    manifest = {"title": "Noisy MNIST", "source": source, "test": {"rows": 10_000}, "tasks": tasks}
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "benchmark.json").write_text(json.dumps(manifest))
    (folder / "eval.yaml").write_text(evaluation_yaml(manifest))
    return folder


def test_published_runs_become_the_first_entries(
    board_of_cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--benchmark", str(board_of_cards), "--dataset", "owner/noisy-mnist", "--out", str(tmp_path)]
    assert published_results().main([str(ROOT / "model_cards"), *words]) == 0
    table = capsys.readouterr().out
    cells = ["1", "97.03", "self-reported", "2026-11-21", "mnist-aul-symmetric-0.8-seed0"]
    assert cells in [line.split() for line in table.splitlines()]
    assert max(map(len, table.splitlines())) <= 80
    files = sorted(tmp_path.glob("mnist-*/.eval_results/*.yaml"))
    assert len(files) == 14
    for file in files:
        entry = parse_eval_result_entries(read_strange_yaml(file.read_bytes(), file.name))[0]
        record = RunRecord.read(ROOT / "model_cards" / file.parent.parent.name)
        assert entry.dataset_id == "owner/noisy-mnist"
        assert entry.value == pytest.approx(100 * record.last["accuracy"])
        assert str(record.noise["spec"]) in str(entry.notes)
    others = len(list((ROOT / "model_cards").glob("*/run.json"))) - len(files)
    assert f"{others} runs were trained on other labels" in table


@pytest.mark.slow
def test_published_mnist_runs_were_trained_on_the_labels_that_a_benchmark_draws_today(
    shared: Path, tmp_path: Path
) -> None:
    from jal_hf.cli.main import main

    noises = "symmetric:0.8,asymmetric:0.4,classes=mnist"
    source = str((shared / "data" / "mnist").resolve())
    assert (
        main(["benchmark", source, "--noise", noises, "--seeds", "0,1,2", "--out", str(tmp_path / "b")]) == 0
    )
    found = open_benchmark(str(tmp_path / "b"))
    for card in sorted((ROOT / "model_cards").glob("mnist-*")):
        record = RunRecord.read(card)
        assert place_in(found, record).seed == str(record.noise["seed"])
