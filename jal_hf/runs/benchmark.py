"""From a clean dataset to a benchmark: draws of noise, hashes of the images, manifest."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from jal_hf.ground.files import JsonObject
from jal_hf.ground.places import published_spec
from jal_hf.hub.benchmark import TEST_FILE, write_benchmark
from jal_hf.hub.noisy_dataset import NoisySource
from jal_hf.noise import LabelNoise, NoiseReport, create_noise, labels_sha256, parse_noise_spec
from jal_hf.noise.benchmark import INDEX, label_column, label_file
from jal_hf.noise.columns import label_vector
from jal_hf.noise.image_hashes import RECIPE, hashes_sha256, image_hashes
from jal_hf.noise.label_file import IMAGE_HASH, LabelFileNoise
from jal_hf.runs.noisy_copies import draw_labels

_CIFAR_N = (
    "labels that people gave, CIFAR-10N and CIFAR-100N of Wei et al. (ICLR 2022), CC BY-NC 4.0, "
    "from github.com/UCSC-REAL/cifar-10-100n"
)
_SOMEBODYS = "labels of a file"


def task_name(spec: str) -> str:
    """A task's name from its noise: `symmetric:0.8` is `symmetric-0.8`, of a file the column counts.

    Raises:
        ValueError: A spec of no noise, or of another benchmark.
    """
    parsed = parse_noise_spec(spec)
    if parsed.kind == "benchmark":
        raise ValueError(
            f"The noise {spec!r} is a benchmark's already; a benchmark is made from other noise."
        )
    kind, _, rest = published_spec(spec.strip()).partition(":")
    text = f"{kind}-{rest.rpartition('#')[2]}" if rest else kind
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")


def make_benchmark(
    data: Any,
    source: NoisySource,
    noises: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    *,
    title: str | None = None,
    command: Sequence[str] = (),
    address: str | None = None,
    image_size: int | None = None,
    num_proc: int | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> JsonObject:
    """Draw every noise with every seed and write the benchmark's folder.

    Labels that come from a file (`human`, `labels`) are somebody else's: such a task gives their SHA-256 and where
    they are from, and no labels.

    Args:
        data: From `load_noisy_dataset`, without noise, with a test split.
        source: Where it came from.
        noises: Specs, one a task.
        seeds: Draws of each; labels of a file have but one.
        folder: Where to; absent or empty.
        title: The benchmark's name.
        command: Draws it again.
        address: Hub id for the card.
        image_size: Side in pixels for noise that looks at images of several sizes.
        num_proc: Images decoded at once for such noise.
        tell: Is told each draw in a line.

    Returns:
        The manifest.

    Raises:
        ValueError: No test split, noisy labels already, or a spec that does not fit or stands twice.
    """
    names = [task_name(spec) for spec in noises]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Two of the noises make the task {twice[0]!r}; give each once.")
    if "test" not in data:
        raise ValueError(
            "A benchmark is scored on a test split, and the dataset has none; give --eval_split."
        )
    if "clean_label" in data["train"].column_names:
        raise ValueError("The dataset carries noisy labels already; a benchmark is made from clean ones.")
    clean = label_vector(data["train"], data.label_column)
    identity: dict[str, dict[str, Any]] = {
        name: {
            INDEX: label_vector(data[name], "index"),
            IMAGE_HASH: _hashes(data[name], data.image_column, name),
        }
        for name in ("train", "test")
    }
    features = datasets.Features(
        {INDEX: datasets.Value("int64"), IMAGE_HASH: datasets.Value("string")}
        | dict.fromkeys(("clean_label", *map(label_column, seeds)), data["train"].features[data.label_column])
    )
    tables, tasks = {}, {}
    for name, spec in zip(names, noises, strict=True):
        noise = create_noise(spec, class_names=data.class_names)
        from_file = isinstance(noise, LabelFileNoise)
        reports, columns = {}, {**identity["train"], "clean_label": clean}
        for seed in [0] if from_file else seeds:
            rows, report = draw_labels(data, noise, seed, image_size=image_size, num_proc=num_proc)
            tell(f"{name}: {report}")
            reports[seed], columns[label_column(seed)] = report, label_vector(rows, data.label_column)
        tasks[name] = _task(noise, reports, _reference(noise, source.name) if from_file else None)
        if not from_file:
            tables[label_file(name)] = datasets.Dataset.from_dict(columns, features=features)
    truth = label_vector(data["test"], data.label_column)
    tables[TEST_FILE] = datasets.Dataset.from_dict(
        {**identity["test"], **dict.fromkeys(list(features)[2:], truth)}, features=features
    )
    manifest = {
        "schema": 1,
        "title": title or f"{source.name} with noisy labels",
        "source": {
            "name": source.name,
            "on_hub": source.on_hub,
            "config": source.config,
            "fingerprint": source.fingerprint,
        },
        "label_column": data.label_column,
        "image_column": data.image_column,
        "class_names": list(data.class_names),
        "image_hash": RECIPE,
        "rows": len(clean),
        "images_sha256": hashes_sha256(identity["train"][IMAGE_HASH]),
        "clean_labels_sha256": labels_sha256(clean),
        "test": {
            "rows": len(truth),
            "images_sha256": hashes_sha256(identity["test"][IMAGE_HASH]),
            "labels_sha256": labels_sha256(truth),
        },
        "tasks": tasks,
        "command": list(command),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("jal_hf", "datasets", "numpy", "pyarrow", "pillow")},
        },
    }
    write_benchmark(folder, manifest, tables, source.metadata, address=address)
    return manifest


def _hashes(rows: datasets.Dataset, column: str, split: str) -> list[str]:
    with datasets.utils.tqdm(total=len(rows), unit=" images", desc=f"Hashing {split}") as bar:
        return image_hashes(rows, column, on_rows=bar.update)


def _task(noise: LabelNoise, reports: dict[int, NoiseReport], reference: str | None) -> JsonObject:
    report = next(iter(reports.values()))
    matrix = report.transition_matrix
    return {
        "spec": published_spec(report.spec),
        "kind": report.kind,
        "convention": _convention(noise),
        "mode": report.mode,
        "asked_rate": report.asked_rate,
        "expected_rate": report.expected_rate,
        "transition_matrix_sha256": None
        if matrix is None
        else hashlib.sha256(np.asarray(matrix, dtype="<f8").tobytes()).hexdigest(),
        "reference": reference,
        "draws": {
            str(seed): {
                "realised_rate": draw.realised_rate,
                "wrong": round(draw.realised_rate * draw.rows),
                "labels_sha256": draw.labels_sha256,
            }
            for seed, draw in reports.items()
        },
    }


def _convention(noise: LabelNoise) -> str:
    """What the rate means, which papers differ in."""
    if noise.mode == "fixed":
        return "labels of a file, as they stand there"
    share = "counts are met to the row" if noise.mode == "exact" else "each row is drawn on its own"
    if noise.kind == "symmetric" and not getattr(noise, "include_true_class", False):
        return f"a wrong label is any other class, the true one left out; {share}"
    if noise.kind == "symmetric":
        return f"a new label is any class, the true one among them; {share}"
    return share


def _reference(noise: LabelNoise, source: str) -> str:
    is_cifar_n = noise.kind == "human" and "cifar" in source.lower()
    return f"{_CIFAR_N if is_cifar_n else _SOMEBODYS}; here {published_spec(noise.spec)}"
