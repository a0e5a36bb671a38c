"""`jal-hf card RUN`: the model card again."""

from __future__ import annotations

import argparse
from pathlib import Path

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.hub import write_card

NAME = "card"
HELP = "render a run's model card again, from its run.json alone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, --print, --json and --quiet."""
    parser.add_argument("run", metavar="RUN", help="Folder of a finished run; its README.md is written anew.")
    parser.add_argument("--print", action="store_true", help="Print the card instead of writing it.")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write or print the card."""
    output = Output(arguments)
    if arguments.print:
        from jal_hf.hub import render_model_card

        card = render_model_card(arguments.run)
        output.result({"file": None, "card": card}, card.removesuffix("\n"))
    else:
        path = str(write_card(arguments.run))
        card = Path(path).read_text(encoding="utf-8")
        output.result({"file": path, "card": card}, f"The card is in {path}", brief=path)
    return 0
