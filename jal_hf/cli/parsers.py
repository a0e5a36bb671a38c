"""The parsers of all commands: wrong words answer with a sentence, and help fits the screen."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Any, NoReturn

from jal_hf.cli.text import WIDEST_HELP, screen_width
from jal_hf.ground.sentences import did_you_mean, shortened

_LONG_CHOICES = 30
_VALUE_WORDS = {"int": "N", "float": "X", "string_to_bool": "true|false"}


class ScreenFormatter(argparse.HelpFormatter):
    """Help as wide as the screen, and at most 100 columns."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=26, width=min(WIDEST_HELP, screen_width()))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """`--flag N`: one spelling, and a word for the value that fits beside it."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        names = [name for name in action.option_strings if "-" not in name.lstrip("-")]
        short = _VALUE_WORDS.get(getattr(action.type, "__name__", ""), "VALUE")
        value = self._format_args(action, action.metavar if isinstance(action.metavar, str) else short)
        return f"{', '.join(names or action.option_strings)} {value}"


class DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter, ScreenFormatter):
    """The same, with each flag's default where it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """Wrong words raise a sentence that names the fix, instead of a page of usage and an exit."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", ScreenFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(*arguments, **options)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[:1].upper()}{message[1:]}. `{self.prog} --help` explains each flag.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the parent's; an unknown word is answered with the nearest flag."""
        found, unknown = self.parse_known_args(args, namespace)
        refuse_unknown(self, unknown)
        return found


def refuse_unknown(parser: argparse.ArgumentParser, words: Sequence[str], every: str = "--help") -> None:
    """ValueError when words are left over, with the nearest flag of the parser."""
    if not words:
        return
    flag = words[0].partition("=")[0]
    flags = sorted({option for action in parser._actions for option in action.option_strings})
    # --lr is short for --learning_rate, though other flags have more letters in common with it.
    spelled_out = [option for option in flags if "_" in option and flag == f"--{_initials(option)}"]
    near = did_you_mean(spelled_out[0] if spelled_out else flag, flags)
    raise ValueError(f"Unknown argument {shortened(flag)!r}.{near} `{parser.prog} {every}` lists all flags.")


def _initials(flag: str) -> str:
    return "".join(word[:1] for word in flag.lstrip("-").split("_"))


def shorten_choices(parser: argparse.ArgumentParser) -> None:
    """Long lists of choices stand in a flag's help, where they wrap, and not in its name."""
    for action in parser._actions:
        if action.choices is None or action.metavar is not None or not action.option_strings:
            continue
        shown = ", ".join(str(choice) for choice in action.choices)
        if len(shown) > _LONG_CHOICES:
            action.metavar = "NAME"
            action.help = f"{(action.help or '').rstrip('. ')}. One of: {shown.replace('%', '%%')}."


def command_parser(command: str) -> argparse.ArgumentParser:
    """The parser of a command, from its file: `parser()`, or `HELP` and `add_arguments(parser)`."""
    module = importlib.import_module(f"jal_hf.cli.{command}")
    if hasattr(module, "parser"):
        made: argparse.ArgumentParser = module.parser()
        return made
    result = CommandParser(prog=f"jal-hf {command}", description=module.HELP)
    if hasattr(module, "add_arguments"):
        module.add_arguments(result)
    return result
