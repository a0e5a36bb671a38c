"""Sharing on the Hub: cards of models and noisy datasets, and pushes that carry them.

Names are loaded on first use, so that one command does not pay for another's imports.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "HubCallback": "jal_hf.hub.callback",
    "PushError": "jal_hf.hub.transfer",
    "add_comparisons": "jal_hf.hub.comparison",
    "check_hub_access": "jal_hf.hub.access",
    "export_model": "jal_hf.models.export",
    "push_run": "jal_hf.hub.push",
    "repository_name": "jal_hf.hub.validation",
    "render_dataset_card": "jal_hf.hub.noisy_dataset",
    "render_model_card": "jal_hf.hub.model_card",
    "validate_card": "jal_hf.hub.validation",
    "validate_hub_settings": "jal_hf.hub.validation",
    "write_card": "jal_hf.hub.model_card",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jal_hf.hub' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
