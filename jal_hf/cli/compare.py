"""`jal-hf compare`: a grid of losses, methods, noises and seeds, and the table of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.parsers import CommandParser
from jal_hf.cli.text import markdown_text
from jal_hf.ground.sentences import printable
from jal_hf.runs.grid.shared_gpu import CHOICES

NAME = "compare"
HELP = "train a grid of losses, noises and seeds, and tabulate it as the papers do"

EXIT_SOME_FAILED = 1
EXIT_STOPPED = 130


def parser() -> argparse.ArgumentParser:
    """The parser of what is compare's own; RECIPE and every other flag are those of `jal-hf train`."""
    result = CommandParser(
        prog="jal-hf compare",
        usage="jal-hf compare [RECIPE] --losses a,b [--methods m1,m2]\n"
        "                      [--noises s1,s2] [--seeds 0,1,2] [--out DIR] [--jobs N]\n"
        "                      [--mps MODE] [FLAGS of jal-hf train]",
        description="Train every loss under every noise with every seed, each in its own folder, and write "
        "the table of last-epoch test accuracies as the papers print it. A grid that was stopped or killed "
        "goes on with the same command. Every flag of `jal-hf train` applies to all cells.",
        epilog="Example: jal-hf compare digits --losses ce,gce,jal-ce --noises symmetric:0.4,asymmetric:0.4 "
        "--seeds 0,1,2 --num_train_epochs 20",
    )
    result.add_argument(
        "--losses", required=True, help="Losses by registry name, e.g. ce,gce,nce+rce,jal-ce."
    )
    result.add_argument(
        "--methods",
        help="Training methods, plain being the loss alone; default: the recipe's, as a rule plain.",
    )
    result.add_argument(
        "--noises", help="Noise specs, e.g. symmetric:0.4,asymmetric:0.4; default: the recipe's."
    )
    result.add_argument(
        "--seeds", default="0,1,2", help="Seeds of training and noise; default 0,1,2 as in the papers."
    )
    result.add_argument("--out", metavar="DIR", help="Folder of the grid; default runs/compare-RECIPE.")
    result.add_argument(
        "--jobs",
        type=lambda word: int(word) if word.lstrip("-").isdigit() else word,
        metavar="N",
        help="Cells trained side by side; several share a GPU, and several GPUs are used in turn. 'auto': as many as a "
        "short probe finds fastest, on a CPU one a core. Default: one a GPU, or one on a CPU.",
    )
    result.add_argument(
        "--mps",
        choices=CHOICES,
        default="auto",
        help="NVIDIA's Multi-Process Service for the time of the grid, by which cells on one GPU compute at the same "
        "time and not in turns: about twice the images a second for small networks. Default auto: where cells "
        "share a GPU and no such service runs yet.",
    )
    add_output_flags(result)
    return result


def main(words: Sequence[str]) -> int:
    """Train what is left of the grid, write results, tables and plots, print the table.

    Returns:
        0, or 1 when a cell failed, or 130 when it was stopped by Ctrl-C.

    Raises:
        ValueError: A grid that cannot be trained, before anything is.
    """
    if list(words[:1]) == ["--worker"]:
        from jal_hf.runs.grid.workers import serve_grid

        serve_grid(words[1])
    own, shared = parser().parse_known_args(list(words))

    from jal_hf.cli.flags import config_of_words
    from jal_hf.cli.lists import split_losses, split_methods, split_noises, split_seeds
    from jal_hf.runs.grid.cells import plan_cells
    from jal_hf.runs.grid.compare import compare
    from jal_hf.runs.grid.ledger import GridLedger

    output = Output(own)
    if "--best" in shared:
        raise ValueError(
            "--best cannot be given to a grid; name the loss in --losses and the method in --methods. What is "
            "recommended for a recipe, jal-hf train RECIPE --best says before it trains."
        )
    config = config_of_words(shared)
    cells = plan_cells(
        split_losses(own.losses),
        split_noises(own.noises or config.noise),
        split_seeds(own.seeds),
        split_methods(own.methods or config.method),
    )
    try:
        with output.working():
            result = compare(
                config, cells, own.out or f"runs/compare-{config.name}", jobs=own.jobs, mps=own.mps
            )
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on with the grid.", file=sys.stderr)
        return EXIT_STOPPED
    table = "" if result.table is None else result.table.read_text(encoding="utf-8").rstrip()
    facts = {
        "folder": str(result.folder),
        "results": GridLedger(result.folder).results(),
        "failures": {str(cell): error for cell, error in result.failures.items()},
    }
    output.result(facts, f"\n{markdown_text(table)}\n" if table else "No cell has a result.", brief=table)
    if result.table is not None:
        output.remark(
            f"  everything is in {result.folder}, the table also as {result.table.with_suffix('.tex').name}"
        )
    for cell, error in result.failures.items():
        print(f"failed: {cell}: {printable(error)}", file=sys.stderr)
    return EXIT_SOME_FAILED if result.failures else 0
