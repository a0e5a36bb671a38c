"""The model card of a run, rendered from its `run.json` alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jal_hf.ground.files import write_text
from jal_hf.ground.record import RunRecord
from jal_hf.ground.secrets import redacted
from jal_hf.hub.card_facts import card_facts
from jal_hf.hub.metadata import card_metadata
from jal_hf.hub.templates import card_template
from jal_hf.hub.validation import validate_card


def render_model_card(record: RunRecord | Mapping[str, Any] | str | os.PathLike[str]) -> str:
    """Render the card of a run.

    Args:
        record: the record, the content of a `run.json`, the file itself, or the folder that holds it.

    Returns:
        Markdown with a metadata block that the Hub accepts, whatever the names in the record hold.

    Raises:
        FileNotFoundError: when there is no `run.json`.
        ValueError: when the file is no record, or the Hub would refuse the card.
    """
    if not isinstance(record, RunRecord):
        record = RunRecord.from_dict(record) if isinstance(record, Mapping) else RunRecord.read(record)
    facts = card_facts(record)
    metadata = card_metadata(record, facts["title_text"]).to_yaml()
    # A token that somebody gave in the place of a name stays out too.
    content = redacted(card_template("model_card.md.jinja").render(metadata=metadata, **facts))
    validate_card(content)
    return content


def write_card(folder: str | os.PathLike[str]) -> Path:
    """Render the card of the run in `folder` and write it there as `README.md`.

    Raises:
        FileNotFoundError: when the folder holds no finished run.
    """
    return write_text(Path(folder) / "README.md", render_model_card(folder))
