"""`jal-hf check --loss NAME --noise SPEC`: is the loss asymmetric under this noise, and by how much."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.text import filled, table_text
from jal_hf.ground.files import JsonObject

if TYPE_CHECKING:
    from jal_hf.losses import RobustLoss

NAME = "check"
HELP = "is a loss asymmetric under a noise, by how much, and the smallest safe a"
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The loss, its parameters, the noise and the number of classes."""
    parser.add_argument("--loss", required=True, metavar="NAME", help="A loss of `jal-hf losses`.")
    parser.add_argument("--loss_args", metavar="JSON", help="Its parameters, such as '{\"a\": 20}'.")
    parser.add_argument("--preset", metavar="DATASET", help="Parameters of a dataset's preset, or 'auto'.")
    parser.add_argument(
        "--noise",
        required=True,
        metavar="SPEC",
        help="Such as symmetric:0.4, asymmetric:0.3,classes=cifar10 or matrix:T.npy.",
    )
    parser.add_argument(
        "--num_classes", type=int, metavar="K", help="Default: what the noise tells, else 10."
    )
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; the exit code says only that the question could be answered."""
    report = check(arguments)
    brief = "asymmetric" if report["asymmetric"] else "not asymmetric"
    Output(arguments).result(report, _text(report), brief)
    return 0


def check(arguments: argparse.Namespace) -> JsonObject:
    """The verdict as a JSON-ready record; an infinite figure is null."""
    from jal_hf.losses import resolve_loss
    from jal_hf.losses.conditions import transition_rows
    from jal_hf.theory import row_verdict

    params = _loss_parameters(arguments.loss_args)
    noise, rows = _noise(arguments.noise, arguments.num_classes)
    loss = resolve_loss(
        arguments.loss, preset=arguments.preset, params=params, num_classes=len(rows), noise=noise
    )
    rows = transition_rows(rows)
    verdicts = [row_verdict(loss, row, index) for index, row in enumerate(rows)]
    theorem_loss, smallest = _smallest_a(loss, rows)
    classes = [
        {
            "class": index,
            "asymmetric": verdict.asymmetric,
            "margin": _finite(verdict.margin),
            "by": verdict.by,
            "kept": row[index],
            "largest_wrong": max(value for other, value in enumerate(row) if other != index),
            "smallest_a": None if smallest is None else _finite(smallest[index]),
        }
        for index, (row, verdict) in enumerate(zip(rows, verdicts, strict=True))
    ]
    return {
        "loss": loss.config()["name"],
        "params": dict(loss.hyperparameters()),
        "preset_reason": loss.preset_reason or "",
        "noise": arguments.noise,
        "kind": noise.kind,
        "num_classes": len(rows),
        "asymmetric": all(verdict.asymmetric for verdict in verdicts),
        "clean_labels_dominate": all(
            row[index] > max(row[:index] + row[index + 1 :]) for index, row in enumerate(rows)
        ),
        "smallest_a_of": theorem_loss,
        "smallest_a": None if smallest is None else _finite(max(smallest)),
        "classes": classes,
    }


def _loss_parameters(text: str | None) -> JsonObject:
    if text is None:
        return {}
    try:
        params = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"--loss_args must be JSON such as '{{\"a\": 20}}', but {text!r} is not: {error}."
        ) from error
    if not isinstance(params, dict):
        raise ValueError(
            f"--loss_args must be a JSON object such as '{{\"a\": 20}}', but {text!r} was given."
        )
    return params


def _noise(spec: str, num_classes: int | None) -> tuple[Any, list[list[float]]]:
    """The noise, and its transition matrix; 10 classes where neither spec nor flag tells K."""
    from jal_hf.losses.conditions import transition_rows
    from jal_hf.noise import create_noise, parse_noise_spec

    classes = num_classes
    if classes is None:
        words = f"{getattr(parse_noise_spec(spec), 'options', {})}"
        classes = 100 if "cifar100" in words else 10
    if parse_noise_spec(spec).kind == "matrix" and num_classes is None:
        noise = create_noise(spec)
    else:
        noise = create_noise(spec, num_classes=classes)
    return noise, transition_rows(noise)


def _smallest_a(loss: RobustLoss, rows: list[list[float]]) -> tuple[str | None, list[float] | None]:
    part = loss.with_a()
    if part is None:
        return None, None
    return part.name, [part.smallest_safe_a(row, index) for index, row in enumerate(rows)]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _text(report: Mapping[str, Any]) -> str:
    params = ", ".join(f"{key} {value}" for key, value in report["params"].items() if value is not None)
    named = report["loss"] + (f" ({params})" if params else "")
    safe = sum(entry["asymmetric"] for entry in report["classes"])
    answer = "is asymmetric" if report["asymmetric"] else "is NOT asymmetric"
    lines = [f"{named} {answer} under {report['noise']} with {report['num_classes']} classes."]
    if not report["asymmetric"]:
        lines.append(f"It tolerates the noise of {safe} of {report['num_classes']} classes.")
    if not report["clean_labels_dominate"]:
        lines.append("Clean labels do not dominate in every class: there no loss of this kind can help.")
    if report["preset_reason"]:
        lines.append(f"Parameters: {report['preset_reason']}.")
    margins = [entry["margin"] for entry in report["classes"] if entry["margin"] is not None]
    if margins:
        lines.append(
            f"Margin: {min(margins):.4g} times what the condition asks (from 1 on it is asymmetric)."
        )
    if report["smallest_a_of"]:
        limit = report["smallest_a"]
        lines.append(
            f"Smallest safe a of {report['smallest_a_of']}: {limit:.4g}."
            if limit is not None
            else f"No a of {report['smallest_a_of']} is safe in every class."
        )
    return "\n".join([*map(filled, lines), "", _class_table(report["classes"])])


def _class_table(classes: list[JsonObject]) -> str:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for entry in classes:
        key = tuple(
            round(value, 6) if isinstance(value, float) else value
            for name, value in entry.items()
            if name != "class"
        )
        groups.setdefault(key, []).append(entry["class"])
    rows = [
        (
            "yes" if asymmetric else "no",
            _cell(margin),
            f"{kept:.4f}",
            f"{wrong:.4f}",
            _cell(least),
            by,
            ", ".join(map(str, members[:12])) + (", ..." if len(members) > 12 else ""),
        )
        for (asymmetric, margin, by, kept, wrong, least), members in list(groups.items())[:SHOWN]
    ]
    columns = ("asymmetric", "margin", "kept", "wrong", "least a", "by", "classes")
    table = table_text(columns, rows, whole=columns[:5])
    if len(groups) > SHOWN:
        table += f"\n... and {len(groups) - SHOWN} more kinds of classes; --json lists all."
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
