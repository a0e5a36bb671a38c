"""The folder of a noisy dataset: Parquet in the Hub's layout, card, matrix picture and manifest."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import DatasetCardData

from jal_hf.ground.files import JsonObject, check_writable
from jal_hf.ground.places import published_spec
from jal_hf.hub.templates import card_template
from jal_hf.hub.text import block, clean, code, percent, plain
from jal_hf.hub.validation import LICENSES, validate_card
from jal_hf.noise import NoiseReport, noise_info
from jal_hf.noise.parquet import write_split

MANIFEST = "noise_manifest.json"
PICTURE = "plots/transition_matrix.png"
_SHOWN_CLASSES = 100


@dataclass(frozen=True)
class NoisySource:
    """Where the clean rows came from.

    Attributes:
        name: Hub id, or the last part of a local path.
        on_hub: Whether `name` is an id on the Hub.
        fingerprint: Digest of the source as loaded.
        config: Configuration of the source, or None.
        metadata: Front matter of the source's card; licence and language are carried over.
    """

    name: str
    on_hub: bool
    fingerprint: str
    config: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def noise_manifest(
    report: NoiseReport,
    source: NoisySource,
    *,
    label_column: str,
    image_column: str,
    class_names: Sequence[str],
    command: Sequence[str] = (),
) -> JsonObject:
    """The record of a noisy dataset, ready for JSON: what was asked, what came of it, and from what."""
    return {
        "schema": 1,
        **report.to_dict(),
        "spec": published_spec(report.spec),
        "source": {
            "name": source.name,
            "on_hub": source.on_hub,
            "config": source.config,
            "fingerprint": source.fingerprint,
            "license": source.metadata.get("license"),
        },
        "label_column": label_column,
        "image_column": image_column,
        "class_names": list(class_names),
        "command": list(command),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("jal_hf", "datasets", "numpy", "pyarrow")},
        },
    }


def check_target(folder: Path, overwrite: bool = False) -> None:
    """Raise FileExistsError, NotADirectoryError or PermissionError unless a noisy dataset may be written there."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; name a folder that does not exist yet.")
    check_writable(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise FileExistsError(
            f"The folder {str(folder)!r} is not empty; name another one, or add --overwrite."
        )
    if not (folder / MANIFEST).is_file():
        raise FileExistsError(
            f"The folder {str(folder)!r} holds no {MANIFEST}, so it is no noisy dataset and is not "
            "overwritten; name another one."
        )


def write_noisy_dataset(
    splits: Mapping[str, datasets.Dataset],
    folder: Path,
    manifest: Mapping[str, Any],
    source_metadata: Mapping[str, Any],
    *,
    draw_picture: Callable[[Path], object],
    overwrite: bool = False,
    address: str | None = None,
) -> Path:
    """Write the folder whole or not at all: it is filled beside its place and renamed at the end.

    Args:
        splits: Rows by split name.
        folder: Where to; absent or empty, or with `overwrite` an older noisy dataset.
        manifest: From `noise_manifest`.
        source_metadata: Front matter of the source's card.
        draw_picture: Draws the transition matrix to the path it is given.
        overwrite: Replace an older noisy dataset.
        address: What the card tells readers to load: a Hub id; None takes the folder's name.

    Returns:
        The folder.

    Raises:
        FileExistsError: The folder is in use.
    """
    check_target(folder, overwrite)
    with replacing(folder) as draft:
        (draft / "data").mkdir()
        (draft / "plots").mkdir()
        written = {}
        for name, split in splits.items():
            with datasets.utils.tqdm(total=len(split), unit=" rows", desc=f"Writing {name}") as bar:
                written[name] = write_split(split, draft / "data", name, on_rows=bar.update)
        facts = {
            **manifest,
            "splits": {
                name: {"rows": len(splits[name]), "files": [f"data/{file.name}" for file in files]}
                for name, files in written.items()
            },
        }
        draw_picture(draft / PICTURE)
        text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
        (draft / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
        card = render_dataset_card(facts, source_metadata, address or f"path/to/{folder.name}")
        (draft / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return folder


def render_dataset_card(
    manifest: Mapping[str, Any], source_metadata: Mapping[str, Any] | None = None, address: str = "."
) -> str:
    """Render the card of a noisy dataset.

    Args:
        manifest: Content of its `noise_manifest.json`.
        source_metadata: Front matter of the source's card: licence and languages are carried over.
        address: What readers load: a Hub id or a folder.

    Returns:
        Markdown with a metadata block that the Hub accepts.

    Raises:
        ValueError: The Hub would refuse the metadata.
    """
    inherited = dict(source_metadata or {})
    source, rows = manifest["source"], int(manifest["rows"])
    names = [plain(name) for name in manifest["class_names"][:_SHOWN_CLASSES]]
    licence = source_license(inherited)
    license_name = licence.get("license_name") or licence.get("license")
    info = noise_info(manifest["kind"])
    content = card_template("dataset_card.md.jinja").render(
        metadata=_metadata(manifest, inherited).to_yaml(),
        title=f"{plain(source['name'])}, labels with {plain(_short_spec(manifest['spec']))} noise",
        source=plain(source["name"]),
        label_column=code(manifest["label_column"]),
        noise={
            "wrong": f"{round(manifest['realised_rate'] * rows):,}",
            "rows": f"{rows:,}",
            "asked": percent(manifest["asked_rate"]),
            "expected": percent(manifest["expected_rate"]),
            "realised": percent(manifest["realised_rate"]),
            "spec": code(_short_spec(manifest["spec"])),
            "summary": info.summary,
            "mode": manifest["mode"],
            "seed": manifest["seed"],
            "sees_images": info.cls.needs_features,
            "sha256": manifest["labels_sha256"],
        },
        untouched=", ".join(plain(name) for name in manifest["splits"] if name != "train"),
        picture=PICTURE,
        manifest=MANIFEST,
        address=clean(address).replace('"', ""),
        command=block(shlex.join(manifest["command"]))
        if manifest["command"]
        else block("jal-hf noise --help"),
        splits=[
            {"name": plain(name), "rows": f"{part['rows']:,}", "files": len(part["files"])}
            for name, part in manifest["splits"].items()
        ],
        class_names=names,
        more_classes=len(manifest["class_names"]) - len(names),
        license=plain(license_name) if license_name else "",
        human=info.cls.family == "human",
        versions=manifest["versions"],
    )
    validate_card(content)
    return content


def _metadata(manifest: Mapping[str, Any], inherited: Mapping[str, Any]) -> DatasetCardData:
    names = {key: inherited.get(key) for key in ("license_name", "license_link")}
    kept: JsonObject = {key: name for key, name in names.items() if isinstance(name, str) and name}
    languages = _languages(inherited.get("language"))
    kept |= {**({"language": languages} if languages else {}), **source_license(inherited)}
    source = manifest["source"]
    if source["on_hub"]:
        kept["source_datasets"] = [source["name"]]
    return DatasetCardData(
        **kept,
        task_categories=["image-classification"],
        tags=["jal-hf", "noisy-labels", "label-noise", manifest["kind"]],
        size_categories=[size_category(sum(part["rows"] for part in manifest["splits"].values()))],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*"} for name in manifest["splits"]],
            }
        ],
    )


def _languages(given: Any) -> list[str]:
    """Codes of languages; YAML reads an unquoted `no`, Norwegian, as false. What is no code is left out."""
    codes = ["no" if code is False else code for code in (given if isinstance(given, list) else [given])]
    return [code for code in codes if isinstance(code, str) and code]


def source_license(inherited: Mapping[str, Any]) -> dict[str, str]:
    """The source's licence as the Hub takes it: one identifier, or `other` with a name."""
    given = inherited.get("license")
    names = [str(name) for name in (given if isinstance(given, list) else [given] if given else [])]
    if not names:
        return {}
    if len(names) == 1 and names[0] in LICENSES:
        return {"license": names[0]}
    return {"license": "other", "license_name": clean(inherited.get("license_name") or ", ".join(names))}


def _short_spec(spec: str) -> str:
    """The spec with a file's name instead of its path, which is nobody's business."""
    kind, colon, rest = spec.partition(":")
    return f"{kind}{colon}{rest.replace(os.sep, '/').rsplit('/', 1)[-1]}"


def size_category(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next(
        (name for bound, name in bounds if rows < bound), "1M<n<10M" if rows < 10_000_000 else "n>10M"
    )


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A fresh sibling that takes the place of `folder` when the block ends without error."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
