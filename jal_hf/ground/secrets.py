"""Access tokens: which fields hold them, and how they stay out of everything that is written or printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

SECRET_FIELDS = frozenset({"hub_token", "push_to_hub_token", "token"})
"""Fields of arguments, flags and records that hold an access token."""

_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")

Value = TypeVar("Value")


def without_secrets(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values without the fields that hold a token, whatever stands in them."""
    return {name: value for name, value in values.items() if name not in SECRET_FIELDS}


def redacted(text: str, secrets: Iterable[str | None] = ()) -> str:
    """Text in which each of these tokens, and whatever has the form of a Hub's token, is replaced."""
    for secret in {str(secret) for secret in secrets if secret}:
        text = text.replace(secret, "<token>")
    return _TOKEN.sub("<token>", text)


def typed_secrets(words: Sequence[str]) -> list[str]:
    """The tokens that stand on a command line: `--hub_token X`, `--hub-token X` or `--hub-token=X`."""
    found = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name.startswith("--") and name[2:].replace("-", "_") in SECRET_FIELDS:
            found.append(value if equals else following)
    return [secret for secret in found if secret]
