"""Push a finished run: checkpoint, config, card, record and plots, in one commit."""

from __future__ import annotations

import logging
import os
import shlex
from pathlib import Path

from jal_hf.ground.files import write_text
from jal_hf.ground.record import RunRecord
from jal_hf.hub.evaluation_results import BenchmarkPlace, benchmark_place, named_benchmark, result_file
from jal_hf.hub.files import run_files
from jal_hf.hub.model_card import render_model_card
from jal_hf.hub.transfer import Patience, PushError, upload_files
from jal_hf.hub.validation import DEFAULT_LICENSE, validate_hub_settings

logger = logging.getLogger(__name__)


def push_run(
    folder: str | os.PathLike[str],
    repo_id: str,
    private: bool | None = None,
    token: str | None = None,
    *,
    license: str | None = None,
    benchmark: str | None = None,
    revision: str | None = None,
    message: str = "Add the trained model with its card",
    patience: Patience | None = None,
) -> str:
    """Push the run in `folder`, card rendered anew with the repository's name.

    The name and the licence are noted in the run's `run.json` first, for the card is rendered from it alone.
    No pickle is sent, and nothing in the folder depends on whether the push succeeds. A run on a benchmark's labels
    takes its result along, for the Hub's boards; see `jal_hf.hub.evaluation_results`.

    Args:
        private: of a new repository; a public one that is there is refused.
        token: None takes the stored one or HF_TOKEN.
        license: of the weights; None keeps the noted one, else apache-2.0.
        benchmark: OWNER/NAME[:TASK] whose labels the run was trained on; None takes the one that its noise names, if
            any, and goes without a result where that one cannot be read or was not followed.
        revision: Branch to commit to, made where it is missing; None is the main one.
        patience: how often and how long to try.

    Returns:
        The address of the commit.

    Raises:
        ValueError: for a bad name or licence, an empty revision, or a `benchmark` whose labels or test rows are not the
            run's.
        FileNotFoundError: when no finished run lies in the folder.
        PushError: when the push fails; the message holds the command that tries again.
    """
    folder = Path(folder)
    record = RunRecord.read(folder)
    license = license or record.hub.get("license") or DEFAULT_LICENSE
    validate_hub_settings(repo_id, license, revision)
    hub = {**record.hub, "repo_id": repo_id, "license": license}
    place = _place(record, benchmark)
    if place is not None:
        hub["benchmark"] = place.to_dict()
    record = record.replace(hub=hub)
    card = render_model_card(record)
    run_files(folder)
    record.write(folder)
    write_text(folder / "README.md", card)
    try:
        return upload_files(
            repo_id,
            {**run_files(folder), **dict([result_file(record, place, repo_id)] if place else [])},
            message=message,
            private=private,
            token=token,
            revision=revision,
            patience=patience,
        )
    except PushError as error:
        again = push_command(folder, repo_id, private=private, benchmark=benchmark, revision=revision)
        raise PushError(
            f"{error}\nThe run is complete in {folder}. Try again with: {again}", error.status
        ) from None


def push_command(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool | None = None, **options: str | None
) -> str:
    """The command line of a push with these options by flag; the licence is noted in the run."""
    words = ["jal-hf", "push", str(folder), repo_id, *(["--private"] if private else [])]
    return shlex.join(
        [*words, *(word for flag, value in options.items() if value for word in (f"--{flag}", value))]
    )


def _place(record: RunRecord, asked: str | None) -> BenchmarkPlace | None:
    """Where the run's result belongs; asked for, it must be clear, else the push goes on without."""
    if asked is not None:
        return benchmark_place(record, asked)
    try:
        named = named_benchmark(record)
        return None if named is None else benchmark_place(record, named)
    except (ValueError, OSError) as error:
        logger.warning("No result of the benchmark is pushed. %s", error)
        return None


def push_dataset(folder: Path, repo_id: str, *, message: str, private: bool | None = None) -> str:
    """Push a folder of a dataset that this package wrote, all its files in one commit; returns its address.

    Raises:
        PushError: when the Hub does not take it.
    """
    files: dict[str, Path | bytes] = {
        file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    return upload_files(repo_id, files, message=message, repo_type="dataset", private=private)
