"""The Hub's own rules for names, licences and card metadata, checked here before any work starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from jal_hf.ground.files import JsonObject
from jal_hf.ground.sentences import did_you_mean

DEFAULT_LICENSE = "apache-2.0"

# Identifiers the Hub accepts: https://huggingface.co/docs/hub/repositories-licenses
LICENSES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0
    c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m
    deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
    fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research intel-research isc lgpl
    lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl
    ncsa odbl odc-by ofl-1.1 open-mdw openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense
    wtfpl zlib
    """.split()  # noqa: SIM905 - a word list reads better than seventy quoted lines
)

# Fields of a card whose values the Hub wants as text, or as lists of text.
_TEXT = ("license", "library_name", "pipeline_tag", "license_name", "license_link")
_LISTS = ("tags", "datasets", "metrics", "language", "base_model", "task_categories")


def validate_hub_settings(repo_id: str, license: str = DEFAULT_LICENSE, revision: str | None = None) -> None:
    """Check a repository's name, a licence and the name of a branch without asking the Hub.

    Raises:
        ValueError: when the Hub would refuse one of them.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(
            f"{repo_id!r} is no repository name: {error} Write NAME/REPO with letters, digits, '-', '_' "
            "and '.'."
        ) from error
    if not repo_id:
        raise ValueError("The repository name is empty. Write NAME/REPO.")
    if revision is not None and not revision.strip():
        raise ValueError("The revision is empty; name a branch, or leave it out for the main one.")
    if license not in LICENSES:
        hint = did_you_mean(license, LICENSES, most=3, cutoff=0.5)
        raise ValueError(
            f"{license!r} is no licence that the Hub knows.{hint} Use an identifier such as apache-2.0, mit or "
            "cc-by-4.0, or 'other'."
        )


def repository_name(folder: str | os.PathLike[str]) -> str:
    """A name for the repository of a run that was given none: its folder's, less what the Hub does not
    allow.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(folder).absolute().name)
    return re.sub(r"([-.])[-.]+", r"\1", name).strip("-.")[:90] or "run"


def validate_card(content: str) -> JsonObject:
    """Read a card back as the Hub would and check its metadata.

    Returns:
        The metadata.

    Raises:
        ValueError: naming the field, when the Hub would refuse the card.
    """
    block = REGEX_YAML_BLOCK.search(content)
    try:
        metadata = yaml.safe_load(block.group(2)) if block else None
    except yaml.YAMLError as error:
        raise ValueError(f"The card's metadata is not valid YAML: {error}") from error
    if not isinstance(metadata, dict) or not metadata:
        raise ValueError("The card has no metadata between its two lines of dashes.")
    _refuse_nulls(metadata, "metadata")
    for key in _TEXT:
        if key in metadata and not isinstance(metadata[key], str):
            raise ValueError(f"{key} must be text in a card, got {metadata[key]!r}.")
    for key in _LISTS:
        values = metadata.get(key, [])
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, str) or not value:
                raise ValueError(f"{key} must hold text only in a card, got {value!r}.")
    if "license" in metadata and metadata["license"] not in LICENSES:
        raise ValueError(f"{metadata['license']!r} is no licence that the Hub knows.")
    ModelCard(content)  # the Hub client's own reading of results
    for entry in metadata.get("model-index", []):
        for result in entry["results"]:
            _check_result(result)
    return metadata


def _check_result(result: Mapping[str, Any]) -> None:
    for part, keys in (("task", ("type",)), ("dataset", ("type", "name", "config", "split"))):
        for key in keys:
            value = result[part].get(key, "-")
            if not isinstance(value, str) or not value:
                raise ValueError(f"{part}.{key} must be text in a card's results, got {value!r}.")
    for metric in result["metrics"]:
        if not isinstance(metric["type"], str) or isinstance(metric["value"], bool):
            raise ValueError(f"A metric in a card needs a type and a number, got {metric!r}.")


def _refuse_nulls(value: Any, where: str) -> None:
    if value is None:
        raise ValueError(f"{where} is empty (null) in the card, which the Hub refuses.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_nulls(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _refuse_nulls(item, where)
