"""Networks of the papers, registered in timm, and `create_model`, which wraps any timm network for
transformers.

Names are loaded on first use: registering the networks needs timm alone, building one needs transformers too.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "create_model": "jal_hf.models.create",
    "default_in_chans": "jal_hf.models.create",
    "RunTimmModel": "jal_hf.models.wrapper",
    "export_model": "jal_hf.models.export",
    "register_networks": "jal_hf.models.registration",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jal_hf.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
