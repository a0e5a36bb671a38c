"""Loading, checking, decoding and augmenting images; names load on first use, so flags cost no import."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "AUGMENTS": "arguments",
    "DataArguments": "arguments",
    "load_noisy_dataset": "load",
    "NoisyDatasetDict": "containers",
    "NoisyIterableDatasetDict": "containers",
    "make_image_dataset": "pipeline",
    "collate_images": "collate",
    "cache_folder": "paths",
    "UnreadableImageError": "decode",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(f"jal_hf.data.{_EXPORTS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jal_hf.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
