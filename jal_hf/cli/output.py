"""What every command prints: its result as text or JSON on stdout, remarks and progress on stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """--json and --quiet, for every command whose output is a result."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print the bare result, without remarks and progress lines"
    )


def taken_output_flags(words: Sequence[str]) -> tuple[Output, list[str]]:
    """--json and --quiet of a command whose other words are those of `jal-hf train`, and these other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_output_flags(parser)
    arguments, rest = parser.parse_known_args(list(words))
    return Output(arguments), rest


class Output:
    """How one command prints.

    Args:
        arguments: Parsed words with the flags of `add_output_flags`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.json = bool(arguments.json)
        self.quiet = bool(arguments.quiet)
        self._stream: IO[str] = sys.stdout

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While it works: what is printed under --json goes to stderr, under --quiet nowhere, progress lines too."""
        if not (self.json or self.quiet):
            yield
            return
        with contextlib.ExitStack() as stack:
            if self.quiet:
                stack.enter_context(_no_progress())
                stack.enter_context(
                    contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8")))
                )
            else:
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            yield

    def result(self, facts: Any, text: str, brief: str | None = None) -> None:
        """Print the result: `facts` under --json, `brief` under --quiet where there is one, else `text`."""
        if self.json:
            shown = json.dumps(facts, indent=2, default=str)
        elif self.quiet and brief is not None:
            shown = brief
        else:
            shown = text
        print(shown, file=self._stream)

    def remark(self, text: str) -> None:
        """Print what is worth knowing beside the result."""
        if not (self.json or self.quiet):
            print(text, file=self._stream)


@contextlib.contextmanager
def _no_progress() -> Iterator[None]:
    import datasets
    import huggingface_hub.utils as hub
    from transformers.utils import logging

    datasets.disable_progress_bars()
    hub.disable_progress_bars()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
        hub.enable_progress_bars()
        logging.enable_progress_bar()
