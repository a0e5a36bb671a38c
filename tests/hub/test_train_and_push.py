"""`jal-hf train --push_to_hub` from its first second to the last commit."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.hub.conftest import Client
from tests.hub.local_hub import TOKEN, LocalHub, check_card

_SHORT = [
    "--num_train_epochs",
    "2",
    "--logging_strategy",
    "epoch",
    "--disable_tqdm",
    "true",
    "--use_cpu",
    "true",
]


def _no_token_in(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), f"the token stands in {path}"


def test_every_commit_of_a_run_carries_the_card_and_never_a_pickle(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    words = [
        "train",
        "digits",
        *_SHORT,
        "--output_dir",
        "out",
        "--push_to_hub",
        "true",
        "--hub_model_id",
        "tester/digits",
    ]
    done = client(
        [
            *words,
            "--hub_strategy",
            "every_save",
            "--hub_always_push",
            "true",
            "--hub_private_repo",
            "true",
            "--hub_token",
            TOKEN,
        ],
        token=None,
    )
    repository = hub.repository("tester/digits")
    assert repository.private
    titles = [commit.title for commit in repository.commits]
    assert [title for title in titles if title.startswith("Training in progress")], titles
    assert len(titles) == 4, titles
    for commit in repository.commits[1:]:
        names = set(commit.files)
        assert {"README.md", "config.json", "model.safetensors", "run.json"} <= names, (commit.title, names)
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))], names
        assert check_card(commit.files["README.md"].content.decode()) == []
    last = hub.files("tester/digits")
    assert {
        "plots/curves.png",
        "plots/transition_matrix.png",
        "plots/confidence_histogram.png",
        "log.jsonl",
    } <= set(last)
    for name in ("README.md", "run.json", "model.safetensors", "config.json"):
        assert last[name] == (tmp_path / "out" / name).read_bytes()
    metadata = yaml.safe_load(last["README.md"].decode().split("\n---\n")[0].removeprefix("---\n"))
    accuracy = json.loads(last["run.json"])["metrics"]["last"]["accuracy"]
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == round(accuracy, 6)
    assert "hub_token ..." in json.loads(last["run.json"])["command"]
    assert "pushed: " in done.stdout
    _no_token_in(tmp_path)


def test_push_that_fails_after_training_leaves_the_run_and_the_command_that_tries_again(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    hub.fault("403", "/commit/")
    words = [
        "train",
        "digits",
        *_SHORT,
        "--output_dir",
        "out",
        "--push_to_hub",
        "true",
        "--hub_model_id",
        "digits",
        "--hub_strategy",
        "end",
    ]
    done = client(words, check=False)
    assert done.returncode == 1, done.stderr[-3000:]
    assert "jal-hf push out tester/digits" in done.stderr
    assert "Traceback" not in done.stderr
    assert "test accuracy, last epoch" in done.stdout, "the table must be printed although the push failed"
    assert {"README.md", "run.json", "config.json", "model.safetensors"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    again = client(["push", "out", "tester/digits"])
    assert "Pushed: " in again.stdout
    assert len(hub.repository("tester/digits").commits) == 2
    assert (
        hub.files("tester/digits")["model.safetensors"]
        == (tmp_path / "out" / "model.safetensors").read_bytes()
    )


def test_push_is_refused_before_training_without_a_token_or_under_a_foreign_name(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    done = client(
        """
        from jal_hf.cli.main import main

        words = ["train", "digits", "--output_dir", "out", "--push_to_hub", "true", "--hub_model_id"]
        assert main([*words, "tester/digits"]) == 2
        assert main([*words, "tester/a--b"]) == 2
        assert main([*words, "tester/digits", "--hub_token", "hf_wrongwrongwrong"]) == 2
        """,
        token=None,
    )
    assert "hf auth login" in done.stderr
    assert "is no repository name" in done.stderr
    assert "does not accept the token" in done.stderr
    assert "hf_wrong" not in done.stderr
    foreign = client(
        ["train", "digits", "--output_dir", "out", "--push_to_hub", "true", "--hub_model_id", "google/vit"],
        check=False,
    )
    assert foreign.returncode == 2
    assert "this token belongs to tester" in foreign.stderr
    assert not (tmp_path / "out").exists()
    assert not hub.repositories
