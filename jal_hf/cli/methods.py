"""`jal-hf methods [NAME]`: the table of training methods, or everything known of one."""

from __future__ import annotations

import argparse
import inspect
import json
import textwrap
from typing import Any

NAME = "methods"
HELP = "list the training methods, or explain one"
MEASURED = (
    "jal-hf compare mnist --max_train_samples 6000 --max_eval_samples 2000 --val_fraction 0.1 --num_train_epochs 12 "
    "--losses jal-ce --noises symmetric:0.8 --seeds 0 --methods plain,NAME"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME and --json."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="A method to explain; without it, all are listed."
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of text.")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one method."""
    from jal_hf.training.methods import list_methods

    if arguments.name is not None:
        facts = method_facts(arguments.name)
        print(json.dumps(facts, indent=2) if arguments.json else _described(facts))
    elif arguments.json:
        print(json.dumps([method_facts(name) for name in list_methods()], indent=2))
    else:
        print(_table([method_facts(name) for name in list_methods()]))
    return 0


def method_facts(name: str) -> dict[str, Any]:
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


def _table(rows: list[dict[str, Any]]) -> str:
    columns = ("name", "cost", "state", "formula")
    lines = [{name: name for name in columns}, *rows]
    widths = {name: max(len(str(row[name])) for row in lines) for name in columns[:-1]}
    shown = [
        "  ".join([*(str(row[name]).ljust(width) for name, width in widths.items()), str(row["formula"])])
        for row in lines
    ]
    shown.insert(1, "  ".join("-" * width for width in [*widths.values(), 7]))
    return "\n".join(
        [
            *shown,
            "",
            "Combine them: --method twin+gate+ema. Cost is time beside plain. `jal-hf methods NAME` explains one.",
        ]
    )


def _described(facts: dict[str, Any]) -> str:
    from jal_hf.training.methods import method_info

    lines = [facts["name"], ""]
    lines += [f"  {name:<10} {facts[name]}" for name in ("formula", "cost", "state", "source")]
    defaults = ", ".join(f"{name} {_shown(value)}" for name, value in facts["defaults"].items())
    lines.append(f"  {'defaults':<10} {defaults or 'none'}")
    lines += [f"  not with   {other}: {why}" for other, why in facts["excludes"].items()]
    if facts["caution"]:
        lines += ["", *textwrap.wrap(facts["caution"], 110, initial_indent="  ", subsequent_indent="  ")]
        lines.append(f"  {MEASURED}")
    return "\n".join([*lines, "", inspect.getdoc(method_info(facts["name"]).create) or ""]).rstrip()


def _shown(value: object) -> str:
    return "by itself" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
