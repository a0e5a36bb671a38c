"""Access tokens: which fields hold them, and how they stay out of everything that is written or printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

SECRET_FIELDS = frozenset({"hub_token", "push_to_hub_token", "token"})
"""Fields of arguments, flags and records that hold an access token."""

Value = TypeVar("Value")


def without_secrets(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values without the fields that hold a token, whatever stands in them."""
    return {name: value for name, value in values.items() if name not in SECRET_FIELDS}


def redacted(text: str, secrets: Iterable[str | None]) -> str:
    """Text in which each of these tokens is replaced."""
    for secret in {str(secret) for secret in secrets if secret}:
        text = text.replace(secret, "<token>")
    return text
