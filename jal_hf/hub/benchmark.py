"""The repository of a benchmark: labels by row and image, manifest, the Hub's `eval.yaml`, and card."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import DatasetCardData

from jal_hf.ground.sentences import shortened
from jal_hf.hub.noisy_dataset import replacing, size_category, source_license
from jal_hf.hub.strange_yaml import read_strange_yaml
from jal_hf.hub.templates import card_template
from jal_hf.hub.text import block, clean, code, percent, plain
from jal_hf.hub.validation import validate_card
from jal_hf.noise.benchmark import MANIFEST, TASK_NAME, label_file

EVALUATION = "eval.yaml"
FRAMEWORK = "jal_hf"
TEST_FILE = "labels/test.parquet"


@dataclass(frozen=True)
class BenchmarkFacts:
    """What an `eval.yaml` says.

    Attributes:
        name: The benchmark's name; for a reader.
        framework: What its results are made with.
        tasks: Names of its tasks.
    """

    name: str
    framework: str
    tasks: tuple[str, ...]


def evaluation_yaml(manifest: Mapping[str, Any]) -> str:
    """The `eval.yaml` by which the Hub knows a benchmark: each task is scored on the clean test split."""
    content = {
        "name": manifest["title"],
        "description": (
            f"{manifest['source']['name']} with wrong training labels. The value is the accuracy on the clean test "
            "split after the last epoch, in percent: no epoch is chosen by the test split."
        ),
        "evaluation_framework": FRAMEWORK,
        "tasks": [{"id": name, "config": name, "split": "test"} for name in manifest["tasks"]],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def read_evaluation_yaml(text: str | bytes, dataset: str) -> BenchmarkFacts:
    """What a benchmark says of itself; anybody can have written it.

    Raises:
        ValueError: It is not of the form that the Hub asks for.
    """
    what = f"The {EVALUATION} of {dataset}"
    content = read_strange_yaml(text, what)
    tasks = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(tasks, list) or not tasks:
        raise ValueError(f"{what} names no tasks; it needs a list of them, each with an id.")
    names = [task.get("id") for task in tasks if isinstance(task, dict)]
    wrong = [name for name in names if not isinstance(name, str) or clean(name, 100) != name]
    if wrong or len(names) != len(tasks):
        raise ValueError(
            f"{what} has a task without an id, or one that is no short text: {shortened(wrong or tasks)}."
        )
    found = (clean(content.get("name") or dataset), clean(content.get("evaluation_framework") or "?"))
    return BenchmarkFacts(*found, tuple(dict.fromkeys(str(name) for name in names)))


def write_benchmark(
    folder: Path,
    manifest: Mapping[str, Any],
    tables: Mapping[str, Any],
    source_metadata: Mapping[str, Any],
    *,
    address: str | None = None,
) -> Path:
    """Write the folder whole or not at all.

    Args:
        folder: Where to; absent or empty.
        manifest: Content of `benchmark.json`; its tasks are those of the tables and those by reference.
        tables: Rows (a `datasets.Dataset`) by file, `labels/TASK.parquet` and `labels/test.parquet`.
        source_metadata: Front matter of the source's card; its licence is carried over.
        address: Hub id that the card tells readers to load; None takes the folder's name.

    Raises:
        FileExistsError: The folder is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{str(folder)!r} is not an empty folder; name one that does not exist yet.")
    for task in manifest["tasks"]:
        if not TASK_NAME.fullmatch(task):
            raise ValueError(
                f"{task!r} cannot name a task; use lower case letters, digits, '.', '_' and '-'."
            )
    with replacing(folder) as draft:
        for name, rows in tables.items():
            (draft / name).parent.mkdir(exist_ok=True)
            rows.to_parquet(str(draft / name))
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        card = render_benchmark_card(manifest, source_metadata, address or f"path/to/{folder.name}")
        for name, content in ((MANIFEST, text), (EVALUATION, evaluation_yaml(manifest)), ("README.md", card)):
            (draft / name).write_text(content, encoding="utf-8", newline="\n")
    return folder


def render_benchmark_card(
    manifest: Mapping[str, Any], source_metadata: Mapping[str, Any], address: str
) -> str:
    """Render the card of a benchmark, a configuration a task.

    Raises:
        ValueError: The Hub would refuse the metadata.
    """
    source, licence = manifest["source"], source_license(dict(source_metadata))
    tasks = [
        {
            "name": code(name),
            "id": name,
            "spec": code(task["spec"]),
            "seeds": ", ".join(task["draws"]),
            "asked": percent(task["asked_rate"]),
            "realised": percent(next(iter(task["draws"].values()))["realised_rate"]),
            "reference": plain(task["reference"]) if task["reference"] else "",
            "sha256": next(iter(task["draws"].values()))["labels_sha256"],
        }
        for name, task in manifest["tasks"].items()
    ]
    drawn = [task for task in tasks if not task["reference"]]
    content = card_template("benchmark_card.md.jinja").render(
        metadata=_metadata(manifest, licence).to_yaml(),
        title=plain(manifest["title"]),
        source=plain(source["name"]),
        source_word=block(shlex.quote(clean(source["name"]))),
        rows=f"{manifest['rows']:,}",
        test_rows=f"{manifest['test']['rows']:,}",
        tasks=tasks,
        drawn=drawn,
        referred=[task for task in tasks if task["reference"]],
        image_hash=plain(manifest["image_hash"]),
        manifest=MANIFEST,
        address=clean(address).replace('"', ""),
        command=block(shlex.join(manifest["command"])),
        license=plain(name) if (name := licence.get("license_name") or licence.get("license")) else "",
        classes=", ".join(plain(name) for name in manifest["class_names"][:100]),
        versions=manifest["versions"],
    )
    validate_card(content)
    return content


def _metadata(manifest: Mapping[str, Any], licence: Mapping[str, str]) -> DatasetCardData:
    source = manifest["source"]
    kept: dict[str, Any] = dict(licence)
    if source["on_hub"]:
        kept["source_datasets"] = [source["name"]]
    return DatasetCardData(
        **kept,
        pretty_name=clean(manifest["title"]),
        task_categories=["image-classification"],
        tags=["jal-hf", "benchmark", "noisy-labels", "label-noise"],
        size_categories=[size_category(manifest["rows"] + manifest["test"]["rows"])],
        configs=[_config(name, task["reference"] is None) for name, task in manifest["tasks"].items()],
    )


def _config(task: str, has_labels: bool) -> dict[str, Any]:
    files: Sequence[tuple[str, str]] = (
        *((("train", label_file(task)),) if has_labels else ()),
        ("test", TEST_FILE),
    )
    return {
        "config_name": task,
        "data_files": [{"split": split, "path": path} for split, path in files],
    }
