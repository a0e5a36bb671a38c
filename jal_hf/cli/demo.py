"""`jal-hf demo RUN`: a page to try a run in the browser."""

from __future__ import annotations

import argparse

NAME = "demo"
HELP = "open a page to try a run: classify images, see suspects, plots, noise and losses"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and where to listen."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or NAME/REPO of one on the Hub")
    parser.add_argument(
        "--port", type=int, default=None, help="port to listen on (default: the first free one from 7860 on)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, which this machine alone reaches)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from jal_hf.runs.demo.serving import serve

    page, address = serve(arguments.run, host=arguments.host, port=arguments.port)
    if arguments.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"Whoever reaches {arguments.host} can open this page and see the suspects' images.")
    print(f"The demo is at {address}; Ctrl-C ends it.", flush=True)
    try:
        page.block_thread()
    finally:
        page.close()
    return 0
