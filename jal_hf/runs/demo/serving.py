"""The page on this machine."""

from __future__ import annotations

import os
from typing import Any

from jal_hf.runs.demo.library import gradio
from jal_hf.runs.demo.page import demo_page

LOOPBACK = "127.0.0.1"
LARGEST_UPLOAD = "20mb"


def serve(run: str | os.PathLike[str], *, host: str = LOOPBACK, port: int | None = None) -> tuple[Any, str]:
    """Open the page of a run; it is never shared through anybody's servers, and no file of the disk is served.

    Args:
        host: Address to listen on; this machine alone reaches 127.0.0.1.
        port: None takes the first free one from 7860 on.

    Returns:
        The page, whose `close` ends it, and its address.

    Raises:
        As `demo_page`; OSError when the port is taken.
    """
    gr = gradio()
    page = demo_page(run)
    # Fonts of the machine: the themes' own would be looked for elsewhere.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        allowed_paths=[],
        max_file_size=LARGEST_UPLOAD,
        footer_links=[],
        theme=theme,
        ssr_mode=False,
        enable_monitoring=False,
    )
    return page, str(address)
