"""Gradio, which only the demo needs."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def gradio() -> Any:
    """The library.

    Raises:
        ImportError: With the line that installs it.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("The demo needs gradio, which is not installed: pip install 'jal_hf[demo]'.")
    return importlib.import_module("gradio")
