"""`jal-hf`: one program, one small file a command."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from jal_hf.cli.parsers import command_parser
from jal_hf.cli.text import filled
from jal_hf.ground.secrets import redacted, typed_secrets
from jal_hf.ground.sentences import did_you_mean, printable, shortened
from jal_hf.training.failures import RunError

COMMANDS = {
    "train": "train one robust classifier",
    "compare": "train losses x noises x seeds; a table as in the papers",
    "losses": "list the losses, or explain one",
    "methods": "list the training methods, or explain one",
    "noise": "write or push a noisy copy of a dataset",
    "check": "is a loss asymmetric under a noise, and the smallest safe a",
    "finetune": "own data with wrong labels: checks, suspects, a robust model",
    "audit": "rank the labels that look wrong, and write the corrected dataset",
    "predict": "classify images with a run's model",
    "demo": "a page to try a run in the browser",
    "export": "write a run's model as ONNX or TorchScript",
    "advise": "which loss suits a dataset and its noise, and why",
    "tune": "search loss parameters and learning rate on noisy validation rows",
    "plot": "draw a run's plots again",
    "card": "render a run's model card again",
    "push": "push a run's checkpoint and card to the Hub",
    "benchmark": "noisy labels that everybody can be scored on, for the Hub",
    "leaderboard": "the results of models on a benchmark of the Hub",
    "doctor": "what this machine has, and what follows from it",
    "completion": "the script by which a shell completes jal-hf",
}

# What people come for.
_WAYS = """\
  jal-hf train                           try it: 40 % wrong labels, seconds
  jal-hf finetune MY_FOLDER              your images, some labels wrong: a model
  jal-hf audit RUN --export CLEAN --drop the folder without suspect labels
  jal-hf compare cifar10 --losses ce,jal-ce --noises symmetric:0.4
                                         losses side by side, as in the papers
  jal-hf push RUN ME/REPO                share it, card included"""

EXIT_BAD_INPUT = 2
EXIT_NOT_REACHED = 1
EXIT_STOPPED = 130
EXIT_READER_LEFT = 141
_UNUSABLE = "The record of the run cannot be used: something in it is missing or has another form ({})."
_FOR_A_LAUNCHER = ("train", "losses", "methods", "check", "doctor", "completion")
"""What several processes may do at once; any other command writes what one process writes."""
_READ_A_RECORD = ("audit", "plot", "card", "push", "predict", "export", "demo")


def usage() -> str:
    """The text of `jal-hf --help`."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(
        filled(f"  {name:<{width}}  {text}", hanging=" " * (width + 4)) for name, text in available().items()
    )
    return (
        "usage: jal-hf COMMAND [ARGUMENTS]\n\n"
        "Train classifiers that survive wrong labels.\n\n"
        f"{_WAYS}\n\n"
        f"commands:\n{rows}\n\n"
        "`jal-hf COMMAND --help` explains a command."
    )


def available() -> dict[str, str]:
    """The commands whose file is in this installation."""
    folder = os.path.dirname(__file__)
    return {
        name: text for name, text in COMMANDS.items() if os.path.exists(os.path.join(folder, f"{name}.py"))
    }


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit code.

    0 done, 1 the run failed or the Hub did not answer, 2 bad input,
    128 plus a signal's number (143 SIGTERM, 130 SIGINT) when that ended a run, after a checkpoint where one trains.
    """
    words = list(argv)
    secrets = [*typed_secrets(words), os.environ.get("HF_TOKEN")]

    def fail(sentence: str, code: int = EXIT_BAD_INPUT) -> int:
        shown = "\n".join(map(printable, redacted(sentence, secrets).split("\n")))
        print(f"jal-hf: error: {shown}", file=sys.stderr)
        return code

    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from jal_hf import __version__

        print(f"jal_hf {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if command not in available():
        hint = did_you_mean(command, available())
        return fail(f"Unknown command {shortened(command)!r}.{hint} There are: {', '.join(available())}.")
    # A job's script may say WORLD_SIZE for what it launches; LOCAL_RANK stands in launched processes alone.
    is_launched = "LOCAL_RANK" in os.environ and (os.environ.get("WORLD_SIZE") or "1") != "1"
    if is_launched and command not in _FOR_A_LAUNCHER:
        sentence = f"{command} runs as one process and starts others itself where it needs them: start it without the "
        sentence += "launcher, as jal-hf " + command
        return fail(f"{sentence}.") if os.environ.get("RANK", "0") == "0" else EXIT_BAD_INPUT
    try:
        module = importlib.import_module(f"jal_hf.cli.{command}")
        if hasattr(module, "main"):
            return int(module.main(rest))
        return int(module.run(command_parser(command).parse_args(rest)))
    except KeyboardInterrupt:
        print(f"\njal-hf {command} was stopped.", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:
        if not _reader_left():
            raise
        return EXIT_READER_LEFT
    except (ValueError, TypeError, OSError, ImportError, RunError) as error:
        if os.environ.get("JAL_HF_DEBUG"):
            raise
        if isinstance(error, TypeError) and command in _READ_A_RECORD:
            return fail(_UNUSABLE.format(shortened(error, 200)))
        if isinstance(error, RunError):
            return fail(str(error), error.exit_code)
        return fail(str(error), EXIT_NOT_REACHED if isinstance(error, ConnectionError) else EXIT_BAD_INPUT)
    except (LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # A record is data from anywhere: what it lacks, or holds in another form, is no fault of the program.
        if command not in _READ_A_RECORD or os.environ.get("JAL_HF_DEBUG"):
            raise
        reason = shortened(f"{type(error).__name__}: {error}", 200)
        return fail(_UNUSABLE.format(reason))


def entry() -> None:
    """The console script."""
    code = main(sys.argv[1:])
    raise SystemExit(EXIT_READER_LEFT if _reader_left() else code)


def _reader_left() -> bool:
    """Whether stdout is a pipe that nobody reads any more, as after `jal-hf losses | head`; then it is closed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would raise once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
