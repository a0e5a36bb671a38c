"""Noise on the training labels, or the report on labels that came noisy already."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from jal_hf.data.column_values import integer_column, without_columns
from jal_hf.ground.places import OF_FILES, published_spec
from jal_hf.ground.sentences import listed
from jal_hf.noise import (
    LabelNoise,
    NoiseReport,
    add_label_noise,
    create_noise,
    noise_report,
    parse_noise_spec,
)
from jal_hf.noise.array_files import existing_file

MANIFEST = "noise_manifest.json"
CLEAN_BENCHMARKS = frozenset({"digits", "mnist", "fashionmnist", "cifar10", "cifar100"})
"""Datasets whose published labels count as clean, by the last part of their name."""
_FROM_MANIFEST = ("spec", "kind", "seed", "mode", "asked_rate", "expected_rate", "transition_matrix")


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """What `jal-hf noise` wrote about the labels of a folder; None where it did not make it.

    Raises:
        ValueError: the file is there but is not such a record.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The record {str(path)!r} of the noise cannot be read: {error}.") from error
    if not isinstance(manifest, dict) or not {*_FROM_MANIFEST, "labels_sha256"} <= set(manifest):
        raise ValueError(f"The record {str(path)!r} of the noise lacks entries; write the folder again.")
    return manifest


def resolved_noise(noise: LabelNoise | str | None, names: Sequence[str]) -> LabelNoise:
    """The noise for labels of these classes, from an object, a spec, or None for no noise.

    Raises:
        ValueError: a spec that does not fit, or an object made for other classes.
    """
    if not isinstance(noise, LabelNoise):
        return create_noise(noise or "none", num_classes=len(names), class_names=names)
    if noise.num_classes not in (None, len(names)):
        raise ValueError(
            f"The noise {noise.spec!r} was made for {noise.num_classes} classes, the dataset has {len(names)}; "
            "make it for these, or give its spec."
        )
    if noise.class_names is not None and list(noise.class_names) != list(names):
        raise ValueError(
            f"The noise {noise.spec!r} was made for the classes {listed(noise.class_names[:5])}, the dataset has "
            f"{listed(names[:5])}; make it for these, or give its spec."
        )
    return noise


def check_noise(noise: object) -> None:
    """Nothing, for an object or a well-formed spec of noise, or None.

    Raises:
        ValueError: a spec that nothing fits.
        FileNotFoundError: a spec whose file isn't there.
        TypeError: something else.
    """
    if isinstance(noise, str):
        spec = parse_noise_spec(noise)
        if spec.kind in OF_FILES and spec.argument:
            file = spec.argument if spec.kind == "matrix" else spec.argument.rpartition("#")[0]
            existing_file(
                Path(file or spec.argument), "matrix file" if spec.kind == "matrix" else "label file"
            )
    elif noise is not None and not isinstance(noise, LabelNoise):
        raise TypeError(
            f"The noise is a spec such as 'symmetric:0.4', or what create_noise gives, not {type(noise).__name__}."
        )


def is_noise_known(
    source_name: str,
    asked: LabelNoise | str | None,
    kind: str,
    has_clean_labels: bool,
) -> bool:
    """Whether a report tells the noise of the labels, instead of only that none was added.

    Args:
        source_name: of the dataset, as the user gave it.
        asked: noise as the user gave it; None where they named none.
        kind: of the noise report.
        has_clean_labels: the column `clean_label` stands beside them.
    """
    if has_clean_labels or kind != "none":
        return True
    name = source_name.rstrip("/").rsplit("/", 1)[-1].lower().replace("-", "").replace("_", "")
    return asked is not None and name in CLEAN_BENCHMARKS


def put_noise(
    train: datasets.Dataset,
    label_column: str,
    names: Sequence[str],
    asked: LabelNoise | str | None,
    seed: int,
    manifest: Mapping[str, Any] | None,
    warnings: list[str],
) -> tuple[datasets.Dataset, NoiseReport]:
    """Training rows with noise as asked, and the report.

    Rows that carry `clean_label` came with noisy labels, which are used as they are: noise on top of noise
    is never what was meant. A warning says so where other noise was asked for.

    Args:
        train: rows with ClassLabel `label_column` and `index`.
        label_column: the labels to change.
        names: class names.
        asked: the noise, its spec, or None.
        seed: seed of the noise.
        manifest: of the folder the rows came from, or None.
        warnings: sentences are added here.
    """
    noise = resolved_noise(asked, names)
    if "clean_label" in train.column_names:
        if noise.kind != "none" and (
            manifest is None
            or (published_spec(noise.spec), seed) != (published_spec(str(manifest["spec"])), manifest["seed"])
        ):
            made = "" if manifest is None else f" ({manifest['spec']}, seed {manifest['seed']})"
            warnings.append(
                f"The noise {noise.spec!r} was not added: the dataset carries noisy labels already{made}, beside "
                "clean_label."
            )
        return train, _report_as_found(train, label_column, names, manifest, warnings)
    if noise.kind == "none":
        labels = integer_column(train, label_column)
        known = labels[labels >= 0]
        return train, noise_report(known, known, noise, seed)
    train = add_label_noise(train, noise, label_column=label_column, seed=seed, index_column="index")
    train = without_columns(train, [])
    clean, noisy = integer_column(train, "clean_label"), integer_column(train, label_column)
    return train, noise_report(clean, noisy, noise, seed)


def _report_as_found(
    train: datasets.Dataset,
    label_column: str,
    names: Sequence[str],
    manifest: Mapping[str, Any] | None,
    warnings: list[str],
) -> NoiseReport:
    clean, noisy = integer_column(train, "clean_label"), integer_column(train, label_column)
    known = (clean >= 0) & (noisy >= 0)
    none = create_noise("none", num_classes=len(names), class_names=names)
    report = noise_report(clean[known], noisy[known], none, 0)
    if manifest is None:
        return report
    if manifest.get("rows") == report.rows and manifest["labels_sha256"] != report.labels_sha256:
        warnings.append(
            f"The labels are not those that {MANIFEST} describes; the record tells what was found."
        )
        return report
    return dataclasses.replace(report, **{name: manifest[name] for name in _FROM_MANIFEST})
