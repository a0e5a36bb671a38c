"""From the words after `jal-hf train` to a run's config: every field of a run is a flag."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from transformers import HfArgumentParser

from jal_hf.cli.parsers import CommandParser, DefaultsFormatter, refuse_unknown, shorten_choices
from jal_hf.cli.train_help import short_train_help, show_package_defaults
from jal_hf.ground.files import JsonObject
from jal_hf.runs.config import RunConfig
from jal_hf.runs.values import GROUPS


class _Parser(CommandParser, HfArgumentParser):  # type: ignore[misc]
    """Bad values raise a sentence instead of printing two screens of usage."""


def train_parser(prog: str = "jal-hf train") -> HfArgumentParser:
    """The parser of `jal-hf train`, without a recipe's defaults."""
    result = _Parser(
        GROUPS,
        prog=prog,
        usage=f"{prog} [RECIPE] [--flags]",
        description="Train one robust classifier. RECIPE is a built-in name, a YAML file, or a finished run "
        "(its folder or run.json) to train again; flags override it. "
        "Without RECIPE, --dataset means your own data, to which no noise is added unless --noise asks for it; without "
        "either, the built-in digits are trained. Example: jal-hf train mnist --dataset ylecun/mnist "
        "--noise symmetric:0.4 --loss agce",
        epilog="Exit codes: 0 done, 1 the run failed, 2 bad input, 130 or 143 stopped by Ctrl-C or SIGTERM with a "
        "checkpoint saved (go on with --resume auto).",
        formatter_class=DefaultsFormatter,
    )
    result.add_argument(
        "recipe",
        nargs="?",
        default=None,
        help="Built-in recipe name, path of a YAML file, or a finished run to repeat: its folder or run.json.",
    )
    result.add_argument(
        "--fast",
        action="store_true",
        help="Take the recipe's faster settings; the record says what they change.",
    )
    result.add_argument(
        "--best",
        action="store_true",
        help="Take the loss and training method that are recommended for the recipe's data.",
    )
    result.add_argument(
        "--resume",
        default=None,
        metavar="auto|DIR",
        help="Go on from a checkpoint of an interrupted run: 'auto' takes the last one in the output folder.",
    )
    shorten_choices(result)
    return result


def config_of_words(words: Sequence[str], *, or_run: bool = False) -> RunConfig:
    """The run that the words after `jal-hf train` ask for.

    Args:
        or_run: Whether a finished run may stand in the place of a recipe.

    Raises:
        ValueError: Unknown recipe, flag or value, as a sentence.
    """
    asked = explicit_flags(words)
    # Only now: help and completion need not wait for what a run is read by.
    from jal_hf.runs.repeat import config_from

    switches = {name: bool(asked.pop(name, False)) for name in ("fast", "best")}
    config_of = config_from if or_run else RunConfig.from_recipe
    return config_of(asked.pop("recipe", None), **switches, **asked)


def explicit_flags(words: Sequence[str]) -> JsonObject:
    """Only what stands on the command line after `jal-hf train`, by field name, with types applied.

    Raises:
        ValueError: A flag that doesn't exist, with the nearest one, or a value of the wrong type.
    """
    quiet = train_parser()
    if "--help-all" in words:
        show_package_defaults(quiet)
        quiet.parse_args(["--help"])
    if any(word in ("-h", "--help") for word in words):
        print(short_train_help())
        raise SystemExit(0)
    for action in quiet._actions:
        action.default = argparse.SUPPRESS
    namespace, unknown = quiet.parse_known_args(list(words))
    if any(word.partition("=")[0] == "--task" for word in unknown):
        raise ValueError("Texts are trained on by jal-hf finetune TABLE --task text --model ENCODER alone.")
    refuse_unknown(quiet, unknown, "--help-all")
    found = dict(vars(namespace))
    if found.get("resume_from_checkpoint") in ("True", "true"):
        found["resume_from_checkpoint"] = "auto"
    return found
