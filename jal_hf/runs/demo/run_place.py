"""Where a run to show lies: a folder of this machine, or a repository of the Hub."""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from jal_hf.ground.record import RECORD
from jal_hf.hub import validate_hub_settings

# What the page reads; nothing else is fetched, least of all a pickle.
_READ = ("config.json", "preprocessor_config.json", "model*.safetensors*", RECORD, "log.jsonl")


def run_folder(run: str | os.PathLike[str]) -> Path:
    """The folder of a finished run, fetched when `run` is NAME/REPO of the Hub and no folder here.

    Raises:
        FileNotFoundError: It holds no finished run.
        ValueError: It is neither a folder nor the name of a repository.
        ConnectionError: The Hub could not be asked, or has no such repository.
    """
    folder = Path(run)
    if not folder.is_dir():
        name = str(run)
        if name.count("/") != 1 or folder.exists():
            raise FileNotFoundError(
                f"There is no folder {name}. Give the folder of a finished run, or NAME/REPO of one on the Hub."
            )
        validate_hub_settings(name)
        try:
            folder = Path(snapshot_download(name, allow_patterns=list(_READ)))
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConnectionError(
                f"There is no folder {name}, and the Hub does not give such a repository: {first}"
            ) from error
    if not (folder / RECORD).is_file():
        raise FileNotFoundError(
            f"{run} holds no finished run: there is no {RECORD} in it. Give the --output_dir of a run that ended."
        )
    return folder
