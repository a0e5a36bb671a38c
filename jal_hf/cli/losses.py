"""`jal-hf losses [NAME]`: the table of losses, or everything known of one."""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

from jal_hf.ground.files import JsonObject

NAME = "losses"
HELP = "list the losses, or explain one"
SCALE_AT = (10, 100, 1000)
OMITTED_FIELDS = ("Formula:", "Args:", "Shape:", "Raises:", "Example:")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME and --json."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="A loss to explain; without it, all are listed."
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of text.")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one loss."""
    if arguments.name is None:
        print(json.dumps(_all_facts(), indent=2) if arguments.json else _table())
        return 0
    facts = _facts(arguments.name)
    print(json.dumps(facts, indent=2) if arguments.json else _describe(facts))
    return 0


def _table() -> str:
    from jal_hf.losses import loss_rows

    rows = [("name", "kind", "robustness", "defaults", "summary"), *loss_rows()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    room = max(30, shutil.get_terminal_size((150, 24)).columns - sum(widths) - 8)
    lines = []
    for number, row in enumerate(rows):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append(f"{cells}  {textwrap.shorten(row[4], room, placeholder=' ...')}".rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths) + "  " + "-" * 7)
    return "\n".join(
        [*lines, "", "`jal-hf losses NAME` explains one: formula, properties, presets, citation."]
    )


def _all_facts() -> list[JsonObject]:
    from jal_hf.losses import all_infos

    return [_facts(info.name) for info in all_infos()]


def _facts(name: str) -> JsonObject:
    from jal_hf.losses import create_loss, loss_info, loss_preset
    from jal_hf.losses.presets import DATASETS

    info = loss_info(name)
    facts: JsonObject = {
        "name": info.name,
        "summary": info.summary,
        "formula": info.formula,
        "kind": info.kind,
        "robustness": info.symmetry,
        "has_detached_factors": info.has_detached_factors,
        "closed_form": info.closed_form,
        "soft_targets": info.soft_targets and not info.reported_only,
        "reported_only": info.reported_only,
        "reason": info.reason,
        "citation": info.citation,
        "defaults": {},
        "presets": {},
    }
    if not info.reported_only:
        loss = create_loss(info.name)
        facts["defaults"] = loss.hyperparameters()
        facts["gradient_scale"] = {str(classes): loss.gradient_scale(classes) for classes in SCALE_AT}
        for dataset in DATASETS:
            preset = loss_preset(info.name, dataset)
            facts["presets"][dataset] = {
                "params": dict(preset.params),
                "l1_weight_decay": preset.l1_weight_decay,
                "weight_decay": preset.weight_decay,
                "source": preset.source,
            }
    return facts


def _describe(facts: Mapping[str, Any]) -> str:
    from jal_hf.losses import loss_info

    lines = [f"{facts['name']}: {facts['summary']}", "", f"  formula     {facts['formula']}"]
    if facts["reported_only"]:
        return "\n".join([*lines, "", textwrap.fill(facts["reason"], 100), "", facts["citation"]])
    lines += [f"  kind        {facts['kind']}", f"  robustness  {_robustness(facts)}"]
    lines.append(f"  defaults    {_values(facts['defaults'])}")
    targets = "class indices or class probabilities" if facts["soft_targets"] else "class indices"
    lines.append(f"  targets     {targets}")
    scales = [f"{scale:.2g} at {classes} classes" for classes, scale in facts["gradient_scale"].items()]
    lines.append(f"  scale       {', '.join(scales)} (gradient at a uniform prediction, times that of ce)")
    if facts["has_detached_factors"]:
        lines.append("  gradient    the focal factors carry none, as in the authors' codes")
    if facts["closed_form"]:
        lines.append("  speed       loss and gradient in closed form, one pass, one saved buffer")
    info = loss_info(facts["name"])
    if info.parts is not None:
        lines.append(f"  parts       {info.parts[0]} and {info.parts[1]}; explained under their own names")
    elif info.cls is not None:
        lines += ["", *_docstring(info.cls)]
    lines += ["", "presets (`preset=DATASET`; per dataset, never per noise rate)"]
    for dataset, preset in facts["presets"].items():
        decay = (
            f"L1 {preset['l1_weight_decay']:g}"
            if preset["l1_weight_decay"]
            else f"L2 {preset['weight_decay']:g}"
        )
        lines.append(f"  {dataset:<15} {_values(preset['params'])}; {decay}")
        lines += textwrap.wrap(preset["source"], 100, initial_indent=" " * 18, subsequent_indent=" " * 18)
    return "\n".join([*lines, "", "citation", textwrap.indent(facts["citation"], "  ")])


def _robustness(facts: Mapping[str, Any]) -> str:
    return {
        "symmetric": "symmetric: the losses of all labels sum to a constant",
        "asymmetric": "asymmetric where its condition holds; `jal-hf check` tells",
    }.get(facts["robustness"], "neither symmetric nor asymmetric")


def _docstring(cls: type) -> list[str]:
    """The class's own words on properties, reference and provenance."""
    kept, keep = [], False
    for line in inspect.getdoc(cls).splitlines() if inspect.getdoc(cls) else []:  # type: ignore[union-attr]
        if line and not line.startswith(" "):
            keep = line.endswith(":") and line not in OMITTED_FIELDS
        if keep and line.strip():
            kept.append("  " + line)
    return kept


def _values(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items() if value is not None) or "none"
