"""`jal-hf tune RECIPE --loss NAME --trials N`: a search on a noisy validation split."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.parsers import CommandParser
from jal_hf.cli.text import facts_text
from jal_hf.ground.sentences import counted

NAME = "tune"
HELP = "search loss parameters and learning rate on a noisy validation split"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the search itself; all others are those of `jal-hf train`."""
    parser.add_argument("--trials", type=int, default=30, metavar="N", help="trials in all (default: 30)")
    parser.add_argument(
        "--output_dir",
        metavar="DIR",
        help="where study.db, best.yaml and the plot go (default: runs/tune-RECIPE-LOSS); the same folder "
        "again goes on with an interrupted search",
    )
    add_output_flags(parser)


def parser() -> argparse.ArgumentParser:
    """The parser of what is the search's own."""
    result = CommandParser(
        prog="jal-hf tune",
        usage="jal-hf tune [RECIPE] [--loss NAME] [--trials N] [--output_dir DIR]\n"
        "                   [FLAGS of jal-hf train]",
        description=f"{HELP}: a, alpha, beta and the learning rate. RECIPE and all other flags are those of "
        "`jal-hf train`; --val_fraction is the share of training rows held back (default: 0.2).",
    )
    add_arguments(result)
    return result


def main(argv: Sequence[str]) -> int:
    """Search, then print the best settings and the line that trains with them."""
    arguments, rest = parser().parse_known_args(list(argv))
    output = Output(arguments)
    from jal_hf.cli.flags import config_of_words
    from jal_hf.runs.publishing import PLACES
    from jal_hf.runs.tune.tune import tune

    config = config_of_words(rest)
    folder = arguments.output_dir or f"runs/tune-{config.name}-{config.loss}"
    with output.working():
        result = tune(config, folder, arguments.trials)
    heading = (
        f"best of {counted(result.trials, 'trial')}: noisy validation accuracy {100 * result.score:.2f} %"
    )
    if result.preset_score is not None:
        heading += f" (preset: {100 * result.preset_score:.2f} %)"
    best = facts_text([(name, f"{value:.4g}") for name, value in result.best.items()])
    facts = {
        "trials": result.trials,
        "score": result.score,
        "preset_score": result.preset_score,
        "best": dict(result.best),
        "recipe": str(result.recipe),
        "folder": str(result.folder),
    }
    text = f"{heading}\n{best}\n  {result.folder / 'plots' / 'study.png'}"
    output.result(facts, text, brief=str(result.recipe))
    # The recipe may be passed on, so it holds names; where the data lies is said here.
    places = [word for name in PLACES for word in _flag(name, config.values[name])]
    output.remark(f"train with it: {shlex.join(['jal-hf', 'train', str(result.recipe), *places])}")
    return 0


def _flag(name: str, value: Any) -> list[str]:
    from jal_hf.runs.publishing import published_value

    return [] if published_value(name, value) == value else [f"--{name}", str(value)]
