"""YAML that a stranger wrote: plain values of bounded size and depth, or a sentence."""

from __future__ import annotations

from typing import Any

import yaml

MOST_BYTES = 65_536
_DEEPEST = 12


def read_strange_yaml(text: str | bytes, what: str) -> Any:
    """Read YAML from an untrusted file.

    References (`*name`), which let a short file stand for a huge one, and types of one's own (`!name`) are refused;
    a list of results has no use for either.

    Args:
        text: The file's content.
        what: Names it in an error.

    Raises:
        ValueError: It is too long, too deep, or no such YAML.
    """
    content = text.encode() if isinstance(text, str) else text
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"{what} has {len(content):,} bytes; such a file has at most {MOST_BYTES:,}, so it is not read."
        )
    try:
        decoded = content.decode("utf-8")
        depth = 0
        for event in yaml.parse(decoded, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
                raise ValueError("it holds references or types of its own")
            if depth > _DEEPEST:
                raise ValueError(f"it is nested more than {_DEEPEST} deep")
        return yaml.safe_load(decoded)
    except (yaml.YAMLError, ValueError) as error:  # the latter also for dates and numbers that cannot be
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{what} cannot be read as YAML: {reason}") from error
