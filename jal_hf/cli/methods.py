"""`jal-hf methods [NAME]`: the table of training methods, or everything known of one."""

from __future__ import annotations

import argparse
import inspect

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.text import WIDE, facts_text, filled, reflowed, screen_width, table_text
from jal_hf.ground.files import JsonObject

NAME = "methods"
HELP = "list the training methods, or explain one"
MEASURED = (
    "jal-hf compare mnist --max_train_samples 6000 --max_eval_samples 2000 --val_fraction 0.1 --num_train_epochs 12 "
    "--losses jal-ce --noises symmetric:0.8 --seeds 0 --methods plain,NAME"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, --json and --quiet."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="A method to explain; without it, all are listed."
    )
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one method."""
    from jal_hf.training.methods import list_methods

    output = Output(arguments)
    if arguments.name is not None:
        facts = method_facts(arguments.name)
        output.result(facts, _described(facts), brief=facts["formula"])
    else:
        rows = [method_facts(name) for name in list_methods()]
        columns = ("name", "cost", *(["state"] if screen_width() >= WIDE else []), "formula")
        table = table_text(columns, [[row[name] for name in columns] for row in rows], whole=("name",))
        output.result(rows, table, brief="\n".join(list_methods()))
        output.remark(
            "\nCombine them: --method twin+gate+ema. Cost is time beside plain.\n`jal-hf methods NAME` explains one."
        )
    return 0


def method_facts(name: str) -> JsonObject:
    """What is known of a method, ready for JSON.

    Raises:
        ValueError: An unknown method.
    """
    from jal_hf.training.methods import default_parameters, method_info

    info = method_info(name)
    return {
        "name": info.name,
        "formula": info.formula,
        "cost": info.cost,
        "state": info.state,
        "source": info.source,
        "defaults": default_parameters(name),
        "excludes": dict(info.excludes or {}),
        "caution": info.caution,
    }


def _described(facts: JsonObject) -> str:
    from jal_hf.training.methods import method_info

    defaults = ", ".join(f"{name} {_shown(value)}" for name, value in facts["defaults"].items())
    rows = [(name, facts[name]) for name in ("formula", "cost", "state", "source")]
    rows.append(("defaults", defaults or "none"))
    rows += [("not with", f"{other}: {why}") for other, why in facts["excludes"].items()]
    caution = facts["caution"]
    told = f"\n\n{filled(caution, '  ')}\n{filled(MEASURED, '  ')}" if caution else ""
    explained = reflowed(inspect.getdoc(method_info(facts["name"]).create) or "")
    return f"{facts['name']}\n\n{facts_text(rows)}{told}\n\n{explained}".rstrip()


def _shown(value: object) -> str:
    return "by itself" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
