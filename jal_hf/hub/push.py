"""Push a finished run: checkpoint, config, card, record and plots, in one commit."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from jal_hf.ground.files import write_text
from jal_hf.ground.record import RunRecord
from jal_hf.hub.files import run_files
from jal_hf.hub.model_card import render_model_card
from jal_hf.hub.transfer import Patience, PushError, upload_files
from jal_hf.hub.validation import DEFAULT_LICENSE, validate_hub_settings


def push_run(
    folder: str | os.PathLike[str],
    repo_id: str,
    private: bool | None = None,
    token: str | None = None,
    *,
    license: str | None = None,
    revision: str | None = None,
    message: str = "Add the trained model with its card",
    patience: Patience | None = None,
) -> str:
    """Push the run in `folder`, card rendered anew with the repository's name.

    The name and the licence are noted in the run's `run.json` first, for the card is rendered from it alone.
    No pickle is sent, and nothing in the folder depends on whether the push succeeds.

    Args:
        private: of a new repository; one that is there stays as it is.
        token: None takes the stored one or HF_TOKEN.
        license: of the weights; None keeps the noted one, else apache-2.0.
        patience: how often and how long to try.

    Returns:
        The address of the commit.

    Raises:
        ValueError: for a bad name or licence.
        FileNotFoundError: when no finished run lies in the folder.
        PushError: when the push fails; the message holds the command that tries again.
    """
    folder = Path(folder)
    record = RunRecord.read(folder)
    license = license or record.hub.get("license") or DEFAULT_LICENSE
    validate_hub_settings(repo_id, license)
    record = record.replace(hub={**record.hub, "repo_id": repo_id, "license": license})
    card = render_model_card(record)
    run_files(folder)
    record.write(folder)
    write_text(folder / "README.md", card)
    try:
        return upload_files(
            repo_id,
            run_files(folder),
            message=message,
            private=private,
            token=token,
            revision=revision,
            patience=patience,
        )
    except PushError as error:
        again = shlex.join(["jal-hf", "push", str(folder), repo_id, *(["--private"] if private else [])])
        raise PushError(
            f"{error}\nThe run is complete in {folder}. Try again with: {again}", error.status
        ) from None
