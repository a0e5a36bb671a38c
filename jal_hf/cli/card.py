"""`jal-hf card RUN`: the model card again."""

from __future__ import annotations

import argparse

from jal_hf.hub import write_card

NAME = "card"
HELP = "render a run's model card again, from its run.json alone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and --print."""
    parser.add_argument("run", metavar="RUN", help="Folder of a finished run; its README.md is written anew.")
    parser.add_argument("--print", action="store_true", help="Print the card instead of writing it.")


def run(arguments: argparse.Namespace) -> int:
    """Write or print the card."""
    if arguments.print:
        from jal_hf.hub import render_model_card

        print(render_model_card(arguments.run), end="")
    else:
        print(f"The card is in {write_card(arguments.run)}")
    return 0
