"""A run's folder with an audit, made without training, whose class names are an attack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jal_hf import create_model
from jal_hf.analysis import find_label_issues, render_report
from jal_hf.analysis.report_page import write_report
from jal_hf.analysis.thumbnails import thumbnail_uris
from jal_hf.models import export_model
from tests.hub.records import write_example_record

OWNED = "document.title='owned'"
HOSTILE = f'</script><script>{OWNED}</script><img src=x onerror="{OWNED}">$\\frac$ [a](javascript:{OWNED})'
NAMES = [HOSTILE, *(f"class {number}" for number in range(1, 10))]
LOG = [
    {"step": step, "epoch": float(step), "loss": 90.0 - step, "eval_accuracy": 0.1 * step}
    for step in range(1, 6)
]


def write_audit(folder: Path, rows: int = 40) -> None:
    """The page of an audit of random rows of 8 x 8 pixels; the first rows' labels are contradicted."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(10, 0.2), rows)
    issues = find_label_issues(probabilities, rng.integers(0, 10, rows), rng.integers(0, 10, rows))
    uris = thumbnail_uris(rng.integers(0, 256, (rows, 8, 8), dtype=np.uint8), 10**6)
    files = [f"{HOSTILE}-{number}.png" for number in range(rows)]
    page = render_report(issues, NAMES, title=HOSTILE, facts={}, thumbnails=uris, files=files)
    write_report(folder / "audit" / "report.html", page)


def make_run(folder: Path) -> Path:
    """A finished run's folder with a network that was never trained."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    export_model(
        create_model("jal_digits_cnn", num_labels=10, class_names=NAMES, image_size=8).eval(), folder
    )
    kept = np.full((10, 10), 0.4 / 9) + np.eye(10) * (0.6 - 0.4 / 9)
    write_example_record(
        folder,
        recipe=HOSTILE,
        dataset={"name": HOSTILE, "class_names": NAMES},
        noise={"spec": HOSTILE, "transition_matrix": kept.tolist(), "realised_matrix": kept.tolist()},
    )
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LOG))
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audited run."""
    folder = make_run(tmp_path_factory.mktemp("demo") / "run")
    write_audit(folder)
    return folder


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image file of 8 x 8 pixels."""
    path = tmp_path_factory.mktemp("image") / "digit.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(path)
    return path
