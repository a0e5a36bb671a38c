"""A benchmark from its making to its table: two models of ours, one of a plain library, and strangers' nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hub.conftest import CALLS, run_client
from tests.hub.local_hub import TOKEN, Blob, LocalHub, Repository, check_card

pytestmark = pytest.mark.timeout(900)  # the fixture trains and pushes; on a busy machine that takes its time
BOARD = "tester/noisy-digits"
_DRIVER = """
    import contextlib, io, json, shutil
    from pathlib import Path
    from jal_hf.cli.main import main

    told = {}
    short = ["--num_train_epochs", "1", "--disable_tqdm", "true", "--use_cpu", "true", "--logging_strategy", "epoch"]

    def call(name, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
        told[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}

    def train(folder, *words):
        call(folder, "train", "digits", *short, "--output_dir", folder, *words)

    board = "tester/noisy-digits"
    call("benchmark", "benchmark", "digits", "--noise", "symmetric:0.4", "--noise", "pairflip:0.2",
         "--seeds", "0,1", "--out", "made", "--push", board, "--title", "Noisy digits")
    train("ours", "--noise", f"benchmark:{board}#symmetric-0.4,seed=1", "--push_to_hub", "true",
          "--hub_model_id", "tester/ours")
    shutil.copytree("ours", "plain")
    record = json.loads(Path("plain/run.json").read_text())
    record["noise"] |= {"spec": "symmetric:0.4", "kind": "symmetric"}
    Path("plain/run.json").write_text(json.dumps(record))
    call("late", "push", "plain", "tester/late", "--benchmark", board)
    call("other-task", "push", "plain", "tester/late", "--benchmark", f"{board}:pairflip-0.2")
    call("no-task", "push", "plain", "tester/late", "--benchmark", f"{board}:x")
    call("no-benchmark", "push", "plain", "tester/late", "--benchmark", "tester/late")
    call("absent", "push", "plain", "tester/late", "--benchmark", "tester/nothing")

    from huggingface_hub import HfApi
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8, num_labels=10, layer_type="basic")
    ResNetForImageClassification(config).push_to_hub("tester/foreign")
    entry = b"- dataset: {id: tester/noisy-digits, task_id: symmetric-0.4}\\n  value: 99.25\\n  notes: by hand\\n"
    HfApi().upload_file(
        path_or_fileobj=entry, path_in_repo=".eval_results/hand.yaml", repo_id="tester/foreign"
    )
    Path("told.json").write_text(json.dumps(told))
"""


_READERS = (
    CALLS
    + """
    board = "tester/noisy-digits"
    call("board", "leaderboard", board, "--json")
    call("table", "leaderboard", board)
    call("task", "leaderboard", board, "--task", "pairflip-0.2")
    fault("404", "/leaderboard")
    call("fallback", "leaderboard", board, "--json", "--model", "tester/foreign")
    fault("404", "/leaderboard")
    call("alone", "leaderboard", board, "--json")
    call("absent-dataset", "leaderboard", "tester/nothing")
    call("path", "leaderboard", "../../etc")
    call("path-task", "leaderboard", board, "--task", "symetric-0.4")
    call("path-model", "leaderboard", board, "--model", "a/b/c")
    call("broken-yaml", "leaderboard", "stranger/broken0")
    call("huge-yaml", "leaderboard", "stranger/broken3")
    train = ["train", "digits", "--max_steps", "1", "--output_dir", "x", "--noise"]
    call("path-in-manifest", *train, "benchmark:stranger/broken1#symmetric-0.4")
    call("other-labels", *train, "benchmark:stranger/broken2#symmetric-0.4")
    call("no-such-task", *train, "benchmark:tester/noisy-digits#../../x")
    call("no-such-seed", *train, "benchmark:tester/noisy-digits#symmetric-0.4,seed=7")
    Path("told2.json").write_text(json.dumps(told))
"""
)


class Session:
    """The Hub after the drivers, their folder, and what each command said."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.told: dict[str, dict[str, Any]] = json.loads((folder / "told.json").read_text())
        self.told |= json.loads((folder / "told2.json").read_text())

    def record(self, run: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / run / "run.json").read_text())
        return content


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("board")
    with LocalHub() as hub:
        hub.verified = {("tester/foreign", ".eval_results/hand.yaml")}
        for driver in (_DRIVER, _READERS):
            done = run_client(hub, folder, driver, timeout=400)
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
            assert TOKEN not in done.stdout + done.stderr
            if driver is _DRIVER:
                add_strangers(hub)
                add_broken_benchmarks(hub)
        yield Session(hub, folder)


def add_strangers(hub: LocalHub) -> None:
    """Models whose result files are broken, huge, or lie."""
    good = f"- dataset: {{id: {BOARD}, task_id: symmetric-0.4}}\n  value: %s\n"
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    for name, content in {
        "above": good % "1e9", "text": good % "'99'", "nan": good % ".nan", "bomb": bomb, "broken": "- [", "none": "",
        "huge": good % 50 + "#" * 100_000, "deep": "[" * 3000, "typed": "!!python/object/apply:os.system [ls]",
        "task": good.replace("symmetric-0.4", "x") % 50,
    }.items():  # fmt: skip
        model = f"stranger/{name}"
        card = f"---\ndatasets:\n- {BOARD}\n---\n".encode()
        files = {"README.md": card, f".eval_results/{name}.yaml": content.encode()}
        hub.repositories["models", model] = repository = Repository("models", model, False)
        repository.commit("x", {path: Blob(data, False) for path, data in files.items()})
    results = {
        "card": f"""
model-index:
- name: x
  results:
  - task: {{type: image-classification}}
    dataset: {{type: {BOARD}, name: x, config: pairflip-0.2}}
    metrics: [{{type: accuracy, value: 0.5}}, {{type: f1, value: 0.4}}]
""",
        "card-of-numbers": "model-index: [1]",
        "card-of-text": """
model-index:
- name: x
  results:
  - task: {type: image-classification}
    dataset: {type: tester/noisy-digits, name: x, config: pairflip-0.2}
    metrics: [{type: accuracy, value: many}]
""",
    }
    for name, index in results.items():
        card = f"---\ndatasets:\n- {BOARD}\n{index}\n---\n".encode()
        hub.repositories["models", f"stranger/{name}"] = Repository("models", f"stranger/{name}", False)
        hub.repository(f"stranger/{name}").commit("x", {"README.md": Blob(card, False)})


def add_broken_benchmarks(hub: LocalHub) -> None:
    """Copies of the benchmark, each with one file that cannot be."""
    good = hub.files(BOARD, "datasets")
    for number, (name, content) in enumerate({
        "eval.yaml": b"a: &a [x]\nb: [*a]",
        "benchmark.json": b'{"tasks": {"../../x": {}}, "test": {}}',
        "labels/symmetric-0.4.parquet": good["labels/pairflip-0.2.parquet"],
        "./eval.yaml": good["eval.yaml"] + b"#" * 100_000,
    }.items()):  # fmt: skip
        board = f"stranger/broken{number}"
        hub.repositories["datasets", board] = repository = Repository("datasets", board, False)
        files = {**good, name.removeprefix("./"): content}
        repository.commit("x", {path: Blob(data, False) for path, data in files.items()})


def test_benchmark_repository_holds_labels_and_hashes_and_no_images(session: Session) -> None:
    assert session.told["benchmark"]["code"] == 0
    files = session.hub.files(BOARD, "datasets")
    assert {"eval.yaml", "benchmark.json", "README.md", "labels/symmetric-0.4.parquet"} <= set(files)
    assert check_card(files["README.md"].decode()) == []
    assert yaml.safe_load(files["eval.yaml"])["tasks"][0] == {
        "id": "symmetric-0.4",
        "config": "symmetric-0.4",
        "split": "test",
    }
    assert sum(map(len, files.values())) < 600_000


def test_run_on_a_benchmark_names_it_and_its_push_enters_the_result(session: Session) -> None:
    assert session.told["ours"]["code"] == 0
    record = session.record("ours")
    revision = session.hub.repository(BOARD, "datasets").commits[-1].oid
    assert record["noise"]["spec"] == f"benchmark:{BOARD}@{revision}#symmetric-0.4,seed=1"
    test = json.loads(session.hub.files(BOARD, "datasets")["benchmark.json"])["test"]
    assert {name: record["dataset"][f"eval_{name}"] for name in test} == test
    files = session.hub.files("tester/ours")
    name = ".eval_results/noisy-digits-symmetric-0.4-noise1-seed0.yaml"
    entry = yaml.safe_load(files[name])[0]
    assert entry["dataset"] == {"id": BOARD, "task_id": "symmetric-0.4", "revision": revision}
    assert entry["value"] == pytest.approx(100 * record["metrics"]["last"]["accuracy"], abs=1e-4)
    assert entry["source"] == {
        "url": f"{session.hub.url}/tester/ours/blob/main/run.json",
        "name": "run.json",
    }
    assert entry["notes"] == "jal-ce, seed 0, last epoch; symmetric:0.4, noise seed 1"
    assert entry["date"].startswith(record["created"][:10])
    assert f"- {BOARD}" in files["README.md"].decode()


def test_run_on_the_same_labels_is_matched_by_their_checksum(session: Session) -> None:
    assert session.told["late"]["code"] == 0
    names = [name for name in session.hub.files("tester/late") if name.startswith(".eval")]
    assert len(names) == 1
    assert "symmetric-0.4-noise1" in names[0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("other-task", "are not those of the task pairflip-0.2"),
        ("no-task", "has no task 'x'"),
        ("no-benchmark", "There is no dataset tester/late"),
        ("absent", "There is no dataset tester/nothing"),
    ],
)
def test_push_refuses_a_benchmark_that_the_run_did_not_follow(
    session: Session, call: str, sentence: str
) -> None:
    assert session.told[call]["code"] == 2
    assert sentence in session.told[call]["err"]


@pytest.mark.parametrize("call", ["board", "fallback"])
def test_board_ranks_our_models_and_a_foreign_one_and_counts_nonsense(session: Session, call: str) -> None:
    told = json.loads(session.told[call]["out"])
    assert told["rows"][0]["model"] == "tester/foreign"
    assert told["rows"][0]["value"] == 99.25
    assert [row["rank"] for row in told["rows"]] == [1, 2, 2, 1]
    assert {row["model"] for row in told["rows"][:3]} == {"tester/foreign", "tester/ours", "tester/late"}
    last = told["rows"][-1]
    assert (last["model"], last["task"], last["value"]) == ("stranger/card", "pairflip-0.2", 50.0)
    verified = {row["model"] for row in told["rows"] if row["verified"]}
    assert verified == ({"tester/foreign"} if call == "board" else set())
    assert len(told["refused"]) == 12


def test_board_without_the_hubs_own_finds_models_by_their_cards(session: Session) -> None:
    told = json.loads(session.told["alone"]["out"])
    assert {row["model"] for row in told["rows"]} == {"tester/ours", "tester/late", "stranger/card"}


def test_board_prints_a_table_and_what_it_left_out(session: Session) -> None:
    text = session.told["table"]["out"]
    assert text.startswith(f"Noisy digits ({BOARD})")
    assert ["1", "99.25", "verified", "tester/foreign", "by", "hand"] in [
        line.split() for line in text.splitlines()
    ]
    assert "4 results of" in text
    assert "12 could not be used and were left out" in text
    assert "tester/ours" not in session.told["task"]["out"]
    assert "stranger/card" in session.told["task"]["out"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("absent-dataset", "There is no dataset tester/nothing"),
        ("path", "is no name of a repository"),
        ("path-task", "Did you mean 'symmetric-0.4'"),
        ("path-model", "is no name of a repository"),
        ("broken-yaml", "cannot be read as YAML: it holds references"),
        ("huge-yaml", "such a file has at most 65,536"),
        ("path-in-manifest", "describes the task '../../x' in no usable way"),
        ("other-labels", "are not those that its benchmark.json describes"),
        ("no-such-task", "has no task '../../x'"),
        ("no-such-seed", "has no seed 7; it has 0, 1"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(session: Session, call: str, sentence: str) -> None:
    assert (session.told[call]["code"], session.told[call]["out"]) == (2, "")
    assert sentence in session.told[call]["err"]


def test_board_without_a_network_ends_with_a_sentence(session: Session) -> None:
    driver = f"""
        import os
        os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
        from jal_hf.cli.main import main
        raise SystemExit(10 + main(["leaderboard", "{BOARD}"]))
    """
    done = run_client(session.hub, session.folder, driver, home="fresh")
    assert done.returncode == 11
    assert "the Hub cannot be asked" in done.stderr
