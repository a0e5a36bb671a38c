"""A noisy dataset is pushed, loaded by its Hub id, and trained on by it, streaming and not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.conftest import Client
from tests.hub.local_hub import LocalHub, check_card

_DRIVER = """
    import json, shutil, os
    from pathlib import Path
    from jal_hf.cli.main import main

    repo = "tester/noisy-RECIPE"
    assert main(["noise", "SOURCE", "--noise", "symmetric:0.3", "--seed", "5", "--push", repo, "--private"]) == 0
    from datasets import load_dataset

    plain = load_dataset(repo)
    streamed = load_dataset(repo, streaming=True)
    rows = [row["label"] for row in streamed["train"]]
    assert rows == plain["train"]["label"], "streaming gives other labels"
    wrong = sum(given != clean for given, clean in zip(plain["train"]["label"], plain["train"]["clean_label"]))
    short = ["--dataset", repo, "--noise", "none"]
    short += ["--disable_tqdm", "true", "--use_cpu", "true", "--logging_strategy", "epoch"]
    fixed = ["--output_dir", "fixed", "--max_steps", "20"]
    flow = ["--output_dir", "flow", "--streaming", "true", "--max_steps", "20"]
    flow += ["--eval_strategy", "no", "--save_strategy", "no"]
    assert main(["train", "RECIPE", *short, *fixed]) == 0
    assert main(["train", "RECIPE", *short, *flow]) == 0
    facts = {"features": str(plain["train"].features["label"]), "rows": len(rows), "wrong": wrong}
    Path("facts.json").write_text(json.dumps(facts))
"""


def test_noisy_dataset_is_pushed_loaded_and_trained_on_by_its_hub_id(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    check_round_trip(hub, client, tmp_path, source="digits", recipe="digits")


@pytest.mark.slow
def test_noisy_mnist_is_pushed_loaded_and_trained_on_by_its_hub_id(
    hub: LocalHub, client: Client, tmp_path: Path, shared: Path
) -> None:
    check_round_trip(hub, client, tmp_path, source=str((shared / "data" / "mnist").resolve()), recipe="mnist")


def check_round_trip(hub: LocalHub, client: Client, tmp_path: Path, *, source: str, recipe: str) -> None:
    client(_DRIVER.replace("SOURCE", source).replace("RECIPE", recipe))
    name = f"tester/noisy-{recipe}"
    repository = hub.repository(name, "datasets")
    assert repository.private
    assert len(repository.commits) == 2
    files = hub.files(name, "datasets")
    assert check_card(files["README.md"].decode()) == []
    assert {"noise_manifest.json", "plots/transition_matrix.png"} <= set(files)
    facts = json.loads((tmp_path / "facts.json").read_text())
    manifest = json.loads(files["noise_manifest.json"])
    assert facts["wrong"] == round(manifest["realised_rate"] * facts["rows"]) > 0
    assert "ClassLabel" in facts["features"]
    for run in ("fixed", "flow"):
        record = json.loads((tmp_path / run / "run.json").read_text())
        assert record["dataset"]["name"] == name
        assert record["noise"]["kind"] == "given"
        assert "asked_rate" not in record["noise"]
        assert record["noise"]["realised_rate"] == (manifest["realised_rate"] if run == "fixed" else None)
        assert "The labels came so with the data" in (tmp_path / run / "README.md").read_text()
    assert f"datasets:\n- {name}" in (tmp_path / "fixed" / "README.md").read_text()
