"""A noisy dataset is pushed, loaded by its Hub id, and trained on by it, streaming and not."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hub.conftest import Client
from tests.hub.local_hub import LocalHub, check_card

_DRIVER = """
    import json, shutil, os
    from pathlib import Path
    from jal_hf.cli.main import main

    repo = "tester/noisy-digits"
    assert main(["noise", "digits", "--noise", "symmetric:0.3", "--seed", "5", "--push", repo, "--private"]) == 0
    from datasets import load_dataset

    plain = load_dataset(repo)
    streamed = load_dataset(repo, streaming=True)
    rows = [row["label"] for row in streamed["train"]]
    assert rows == plain["train"]["label"], "streaming gives other labels"
    wrong = sum(given != clean for given, clean in zip(plain["train"]["label"], plain["train"]["clean_label"]))
    short = ["--dataset", repo, "--noise", "none"]
    short += ["--disable_tqdm", "true", "--use_cpu", "true", "--logging_strategy", "epoch"]
    fixed = ["--output_dir", "fixed", "--num_train_epochs", "1"]
    flow = ["--output_dir", "flow", "--streaming", "true", "--max_steps", "20"]
    flow += ["--eval_strategy", "no", "--save_strategy", "no"]
    assert main(["train", "digits", *short, *fixed]) == 0
    assert main(["train", "digits", *short, *flow]) == 0
    facts = {"features": str(plain["train"].features["label"]), "rows": len(rows), "wrong": wrong}
    Path("facts.json").write_text(json.dumps(facts))
"""


def test_noisy_dataset_is_pushed_loaded_and_trained_on_by_its_hub_id(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    client(_DRIVER)
    repository = hub.repository("tester/noisy-digits", "datasets")
    assert repository.private
    assert len(repository.commits) == 2
    files = hub.files("tester/noisy-digits", "datasets")
    assert check_card(files["README.md"].decode()) == []
    assert {"noise_manifest.json", "plots/transition_matrix.png"} <= set(files)
    facts = json.loads((tmp_path / "facts.json").read_text())
    manifest = json.loads(files["noise_manifest.json"])
    assert facts["wrong"] == round(manifest["realised_rate"] * facts["rows"]) > 0
    assert "ClassLabel" in facts["features"]
    for name in ("fixed", "flow"):
        record = json.loads((tmp_path / name / "run.json").read_text())
        assert record["dataset"]["name"] == "tester/noisy-digits"
    assert "datasets:\n- tester/noisy-digits" in (tmp_path / "fixed" / "README.md").read_text()
