"""`jal-hf plot RUN`: a run's pictures again, from its record and its log."""

from __future__ import annotations

import argparse

NAME = "plot"
HELP = "draw a run's plots again, or several runs' accuracy in one picture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf plot`."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="folder of a finished run; several are drawn together"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="picture of several runs (default: accuracy.png in the current folder)",
    )
    parser.add_argument(
        "--tsne",
        action="store_true",
        help="also draw the features of one run's test images by t-SNE, which takes a minute",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw and print the files written."""
    from jal_hf.analysis.run_plots import plot_run, plot_runs

    folders: list[str] = arguments.runs
    if len(folders) == 1:
        written = plot_run(folders[0])
        if arguments.tsne:
            from jal_hf.analysis.embedding import plot_run_embedding

            written += plot_run_embedding(folders[0])
    else:
        written = plot_runs(folders, arguments.output or "accuracy.png")
    for path in written:
        print(path)
    return 0
