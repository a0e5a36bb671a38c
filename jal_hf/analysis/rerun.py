"""A finished run's settings again, from the command that its record keeps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jal_hf.training.settings import RunSettings, parse_settings

# What steered the first run's folder and its pushing must not steer a second one.
_STEERING = frozenset(
    {
        "--overwrite",
        "--push_to_hub",
        "--hub_model_id",
        "--output_dir",
        "--report_to",
        "--resume",
        "--resume_from_checkpoint",
    }
)


def settings_of_run(
    record: Mapping[str, Any], output_dir: str | Path, changes: Mapping[str, str] | None = None
) -> RunSettings:
    """Settings that train the recorded run again into `output_dir`; `changes` override flags by name.

    ValueError when the record keeps no `jal-hf train` command.
    """
    words = shlex.split(str(record.get("command") or ""))
    if "train" not in words:
        raise ValueError(
            f"The run's record keeps no `jal-hf train` command (it says {record.get('command')!r}), so its "
            "data and settings cannot be found again. Train it with `jal-hf train`."
        )
    argv = _without_steering(words[words.index("train") + 1 :])
    for flag, value in {**(changes or {}), "output_dir": str(output_dir)}.items():
        argv += [f"--{flag}", value]
    return parse_settings(argv)


def _without_steering(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        flag, has_value = word.split("=", 1)[0], "=" in word
        if skip and not word.startswith("--"):
            skip = False
            continue
        skip = False
        # A boolean flag may carry its value as the next word; a recipe's name cannot follow it directly.
        if flag in _STEERING:
            skip = not has_value
        else:
            kept.append(word)
    return kept
