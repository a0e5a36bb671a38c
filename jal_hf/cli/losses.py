"""`jal-hf losses [NAME]`: the table of losses, or everything known of one."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from typing import Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.text import WIDE, facts_text, filled, reflowed, screen_width, table_text, wrapped
from jal_hf.ground.files import JsonObject

NAME = "losses"
HELP = "list the losses, or explain one"
SCALE_AT = (10, 100, 1000)
OMITTED_FIELDS = ("Formula:", "Args:", "Shape:", "Raises:", "Example:")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, --json and --quiet."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="A loss to explain; without it, all are listed."
    )
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one loss."""
    output = Output(arguments)
    if arguments.name is None:
        facts = _all_facts()
        output.result(facts, _table(), brief="\n".join(each["name"] for each in facts))
        output.remark("\n`jal-hf losses NAME` explains one: formula, properties, presets, citation.")
    else:
        known = _facts(arguments.name)
        output.result(known, _describe(known), brief=known["formula"])
    return 0


def _table() -> str:
    from jal_hf.losses import loss_rows

    columns = ("name", "kind", "robustness", "defaults", "summary")
    shown = [place for place in range(5) if place != 3 or screen_width() >= WIDE]
    return table_text(
        [columns[place] for place in shown],
        [[row[place] for place in shown] for row in loss_rows()],
        whole=columns[:4],
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

    heading = filled(f"{facts['name']}: {facts['summary'] or 'a loss of your own'}")
    if facts["reported_only"]:
        rows = [("formula", facts["formula"])]
        return "\n\n".join(
            [heading, facts_text(rows), filled(facts["reason"]), wrapped(facts["citation"], "")]
        )
    scales = [f"{scale:.2g} at {classes} classes" for classes, scale in facts["gradient_scale"].items()]
    rows = [
        ("formula", facts["formula"] or "-"),
        ("kind", facts["kind"]),
        ("robustness", _robustness(facts)),
        ("defaults", _values(facts["defaults"])),
        ("targets", "class indices or class probabilities" if facts["soft_targets"] else "class indices"),
        ("scale", f"{', '.join(scales)} (gradient at a uniform prediction, times that of ce)"),
    ]
    if facts["has_detached_factors"]:
        rows.append(("gradient", "the focal factors carry none, as in the authors' codes"))
    if facts["closed_form"]:
        rows.append(("speed", "loss and gradient in closed form, one pass, one saved buffer"))
    info = loss_info(facts["name"])
    if info.parts is not None:
        rows.append(("parts", f"{info.parts[0]} and {info.parts[1]}; explained under their own names"))
    lines = [heading, "", facts_text(rows)]
    if info.parts is None and info.cls is not None:
        lines += ["", _docstring(info.cls)]
    lines += ["", "presets (`preset=DATASET`; per dataset, never per noise rate)"]
    for dataset, preset in facts["presets"].items():
        decay = (
            f"L1 {preset['l1_weight_decay']:g}"
            if preset["l1_weight_decay"]
            else f"L2 {preset['weight_decay']:g}"
        )
        first = f"  {dataset:<15} {_values(preset['params'])}; {decay}"
        lines += [filled(first, hanging=" " * 18), filled(preset["source"], " " * 18)]
    lines += ["", "citation", wrapped(facts["citation"])] if facts["citation"] else []
    return "\n".join(lines)


def _robustness(facts: Mapping[str, Any]) -> str:
    return {
        "symmetric": "symmetric: the losses of all labels sum to a constant",
        "asymmetric": "asymmetric where its condition holds; `jal-hf check` tells",
    }.get(facts["robustness"], "neither symmetric nor asymmetric")


def _docstring(cls: type) -> str:
    """The class's own words on properties, reference and provenance."""
    kept, keep = [], False
    for line in (inspect.getdoc(cls) or "").splitlines():
        if line and not line.startswith(" "):
            keep = line.endswith(":") and line not in OMITTED_FIELDS
        if keep and line.strip():
            kept.append(line)
    return reflowed("\n".join(kept), "  ")


def _values(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items() if value is not None) or "none"
