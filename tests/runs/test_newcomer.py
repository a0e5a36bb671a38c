"""The example that a newcomer would write runs on a folder that no recipe knows, and pushes to a Hub."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from tests.hub.conftest import run_client
from tests.hub.local_hub import LocalHub, check_card

ROOT = Path(__file__).resolve().parents[2]


def make_folder(folder: Path, rows: int = 16) -> Path:
    """Bright and dark pictures in class folders, a few in the wrong one."""
    draw = np.random.default_rng(0)
    for split, count in (("train", rows), ("test", 6)):
        for label, mean in (("dark", 60), ("light", 190)):
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(count):
                wrong = split == "train" and number < 2
                shade = 250 - mean if wrong else mean
                pixels = np.clip(draw.normal(shade, 15, (24, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_example_of_a_newcomer_runs_and_its_model_loads_back(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "pictures")
    example = ROOT / "examples" / "own_images.py"
    assert len(example.read_text().splitlines()) < 40
    with LocalHub() as hub:
        code = (
            f"import runpy; main = runpy.run_path({str(example)!r})['main']\n"
            f"main({str(folder)!r}, 'tester/own', name='test_resnet')\n"
        )
        done = run_client(hub, tmp_path, code)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        files = hub.files("tester/own")
    assert check_card(files["README.md"].decode()) == []
    run = tmp_path / "runs" / "own"
    record = json.loads((run / "run.json").read_text())
    assert record["dataset"]["class_names"] == ["dark", "light"]
    assert str(tmp_path) not in files["run.json"].decode() + files["README.md"].decode()
    assert (run / "audit" / "label_issues.parquet").is_file()
    assert (run / "plots" / "curves.png").is_file()
    pixels = torch.randn(2, 3, 160, 160)
    ours = AutoModelForImageClassification.from_pretrained(run).eval()
    theirs = timm.create_model(f"local-dir:{run}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(ours(pixels).logits, theirs(pixels))
    answer = pipeline("image-classification", model=str(run))(str(folder / "test" / "dark" / "0.png"))
    assert {item["label"] for item in answer} == {"dark", "light"}


USERS_FILE = """
import jal_hf
from jal_hf import (
    JALTrainer, JALTrainingArguments, RunConfig, audit_run, create_loss, create_model, create_noise,
    load_noisy_dataset, render_model_card, train,
)

reveal_type(JALTrainer)
reveal_type(JALTrainingArguments)
reveal_type(RunConfig.from_recipe("digits").replace(seed=1))
reveal_type(audit_run)
reveal_type(create_loss("ce"))
reveal_type(create_model)
reveal_type(create_noise("none", num_classes=2))
reveal_type(load_noisy_dataset)
reveal_type(render_model_card)
reveal_type(train("digits").record.last)
reveal_type(jal_hf.__version__)
"""


@pytest.mark.slow
def test_types_of_the_top_level_names_are_found(tmp_path: Path) -> None:
    """As in a user's environment, where the package is installed and mypy follows transformers too.

    `typed_names.py` says the same of the package alone, with each run of the tests.
    """
    (tmp_path / "mine.py").write_text(USERS_FILE)
    venv.create(tmp_path / "environment", symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    packages = next((tmp_path / "environment" / "lib").glob("python*")) / "site-packages"
    (packages / "installed.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    revealed = [line for line in done.stdout.splitlines() if "Revealed type" in line]
    assert len(revealed) == 11, done.stdout[-3000:]
    assert not [line for line in revealed if '"Any"' in line]
    assert "error" not in done.stdout, done.stdout[-3000:]
