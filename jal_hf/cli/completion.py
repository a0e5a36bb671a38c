"""`jal-hf completion bash`: the script by which a shell completes commands, flags and names."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jal_hf.cli.output import add_output_flags
from jal_hf.cli.parsers import CommandParser, command_parser

HELP = "print the script by which a shell completes jal-hf"
WHERE = {
    "bash": "~/.local/share/bash-completion/completions/jal-hf",
    "zsh": "~/.zsh/completions/_jal-hf",
    "tcsh": "~/.jal-hf.tcsh",
    "fish": "~/.config/fish/completions/jal-hf.fish",
}
WITH_TRAINING_FLAGS = ("compare", "tune", "finetune")
_FILES = (
    "files",
    "run",
    "runs",
    "out",
    "export",
    "decisions",
    "output",
    "output_dir",
    "weights",
    "dataset",
    "data",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=list(WHERE), help="the shell to complete in")
    parser.epilog = (
        "The script is written once and read by the shell at its start: "
        + "; ".join(f"jal-hf completion {shell} > {place}" for shell, place in WHERE.items())
        + ". In zsh the folder must be in fpath before compinit; in tcsh the file is sourced in ~/.tcshrc."
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    if importlib.util.find_spec("shtab") is None:
        raise ImportError("Completion is written by shtab, which is missing: pip install shtab.")
    import shtab

    from jal_hf.cli.main import available

    print(shtab.complete(whole_parser(available()), shell=arguments.shell))
    print(f"Put it into {WHERE[arguments.shell]}; `jal-hf completion --help` says how.", file=sys.stderr)
    return 0


def whole_parser(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """One parser of all commands, in which losses, methods, recipes and files are known by name."""
    import shtab

    result = CommandParser(prog="jal-hf", description="Train classifiers that survive wrong labels.")
    result.add_argument("--version", action="store_true", help="print the version")
    rooms: Any = result.add_subparsers()
    for command, text in commands.items():
        own = command_parser(command)
        takes_training_flags = command in ("train", *WITH_TRAINING_FLAGS)
        shared = command_parser("train") if takes_training_flags else own
        part = rooms.add_parser(command, help=text, parents=[shared], add_help=False)
        _add_missing(part, own)
        if takes_training_flags:
            printing = CommandParser(add_help=False)
            add_output_flags(printing)
            printing.add_argument("--help-all", action="store_true", help="every flag")
            _add_missing(part, printing)
        for action in part._actions:
            names = _names_of(command, action)
            if names is not None:
                action.choices = names()
            elif action.choices is None and action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return result


def _add_missing(parser: argparse.ArgumentParser, other: argparse.ArgumentParser) -> None:
    """The flags of another parser that this one lacks, and its positional words where this one has none."""
    known = {option for action in parser._actions for option in action.option_strings}
    has_words = any(not action.option_strings for action in parser._actions)
    for action in other._actions:
        if not known & set(action.option_strings) and (action.option_strings or not has_words):
            parser._add_action(action)


def _names_of(command: str, action: argparse.Action) -> Callable[[], Sequence[str]] | None:
    """What lists the values of a flag; a positional `name` is that of its command's own list."""
    from jal_hf.losses import list_losses
    from jal_hf.runs.recipes import list_recipes
    from jal_hf.training.methods import list_methods

    if action.dest == "recipe" and command != "finetune":
        return list_recipes
    return {"loss": list_losses, "losses": list_losses, "method": list_methods, "methods": list_methods}.get(
        command if action.dest == "name" else action.dest
    )
