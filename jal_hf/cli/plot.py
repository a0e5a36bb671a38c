"""`jal-hf plot RUN`: a run's pictures again, from its record and its log."""

from __future__ import annotations

import argparse
from pathlib import Path

from jal_hf.cli.output import Output, add_output_flags

NAME = "plot"
HELP = "draw a run's plots again, several runs' accuracy in one picture, or the pull of losses"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf plot`."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="folder of a finished run; several are drawn together"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="picture of several runs or of losses, as PNG and SVG, and as what its ending says, such as .pdf "
        "(default: accuracy.png, gradients.png)",
    )
    parser.add_argument(
        "--tsne",
        action="store_true",
        help="also draw the features of one run's test images by t-SNE, which takes a minute",
    )
    parser.add_argument(
        "--gradients",
        metavar="LOSSES",
        help="draw how hard these losses pull at each p of the given label: ce,jal-ce",
    )
    parser.add_argument("--num_classes", type=int, metavar="K", help="for --gradients (default: 10)")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw and print the files written."""
    output = Output(arguments)
    with output.working():
        written = [str(path) for path in _drawn(arguments)]
    output.result({"files": written}, "\n".join(written))
    return 0


def _drawn(arguments: argparse.Namespace) -> list[Path]:
    """Draw what the flags ask for, and say which files were written."""
    from jal_hf.analysis.run_plots import plot_run, plot_runs

    folders: list[str] = arguments.runs
    if arguments.gradients and folders:
        raise ValueError(
            "--gradients draws losses, which belong to no run. Leave the folders out, or --gradients."
        )
    if arguments.tsne and (arguments.gradients or len(folders) > 1):
        raise ValueError(
            "--tsne draws the test images of one run. Name one folder and nothing else, or leave it out."
        )
    if arguments.num_classes is not None and not arguments.gradients:
        raise ValueError("--num_classes is for --gradients; a run knows its classes. Leave it out.")
    written: list[Path] = []
    if arguments.gradients:
        from jal_hf.analysis.gradients import plot_gradient_magnitude

        losses = arguments.gradients.split(",")
        classes = 10 if arguments.num_classes is None else arguments.num_classes
        written += plot_gradient_magnitude(losses, arguments.output or "gradients.png", classes)
    elif not folders:
        raise ValueError("Name at least one run's folder, or losses with --gradients ce,jal-ce.")
    elif len(folders) > 1:
        written += plot_runs(folders, arguments.output or "accuracy.png")
    elif arguments.output:
        raise ValueError(
            f"--output names one picture, of several runs or of losses; those of a run go to {folders[0]}/plots. "
            "Leave it out."
        )
    else:
        written += plot_run(folders[0])
        if arguments.tsne:
            from jal_hf.runs.run_embedding import plot_run_embedding

            written += plot_run_embedding(folders[0])
    return written
