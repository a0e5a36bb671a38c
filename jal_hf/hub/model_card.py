"""The model card of a run, rendered from its `run.json` alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from jal_hf.hub.card_facts import card_facts
from jal_hf.hub.metadata import card_metadata
from jal_hf.hub.validation import validate_card

Record = Mapping[str, Any]


def render_model_card(record: Record | str | os.PathLike[str]) -> str:
    """Render the card of a run.

    Args:
        record: the content of a `run.json`, the file itself, or the folder that holds it.

    Returns:
        Markdown with a metadata block that the Hub accepts, whatever the names in the record hold.

    Raises:
        FileNotFoundError: when there is no `run.json`.
        ValueError: when the file is no record, or the Hub would refuse the card.
    """
    if not isinstance(record, Mapping):
        record = load_record(record)
    facts = card_facts(record)
    metadata = card_metadata(record, facts["title_text"]).to_yaml()
    content = _template().render(metadata=metadata, **facts)
    validate_card(content)
    return content


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("jal_hf.hub", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; every value went through jal_hf.hub.text
    )
    return environment.get_template("model_card.md.jinja")


def write_card(folder: str | os.PathLike[str]) -> Path:
    """Render the card of the run in `folder` and write it there as `README.md`.

    Raises:
        FileNotFoundError: when the folder holds no finished run.
    """
    path = Path(folder) / "README.md"
    content = render_model_card(folder)
    replace_text(path, content)
    return path


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def load_record(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a `run.json`, given itself or its folder.

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: when it is no record of a run.
    """
    path = Path(source)
    path = path / "run.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there, so no run finished in that folder. Give the folder of a finished run."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(record, dict) or "loss" not in record or "model" not in record:
        raise ValueError(f"{path} is not the record of a run: it names no loss and no model.")
    return record
