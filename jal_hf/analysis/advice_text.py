"""Advice as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jal_hf.analysis.advice import Advice, moves_a
from jal_hf.ground.files import JsonObject
from jal_hf.ground.sentences import counted

SHOWN_BLOCKED = 5


def advice_text(advice: Advice, class_names: Sequence[str] | None = None) -> str:
    """The advice in a few paragraphs: the noise, what the theory says, what to train, what to expect."""
    parts = [_noise(advice), _theory(advice, class_names)]
    if not advice.blocked:
        parts += [_losses(advice), _suggestions(advice), _expected(advice)]
    return "\n\n".join(parts)


def _noise(advice: Advice) -> str:
    noise = advice.noise
    weakest = min(range(advice.num_classes), key=lambda k: noise.matrix[k, k])
    return (
        f"Noise: {100 * noise.rate:.1f} % wrong labels over {advice.num_classes} classes, {noise.kind} "
        f"({noise.source}); the worst class keeps {100 * noise.matrix[weakest, weakest]:.1f} % of its labels."
    )


def _theory(advice: Advice, class_names: Sequence[str] | None) -> str:
    if not advice.blocked:
        return (
            f"Smallest safe a of AMSE, and so of JAL: a >= {advice.minimum_a:.4g}. From there on the loss is "
            "asymmetric\nunder this noise: what minimises it on wrong labels minimises it on clean ones."
        )

    def name(label: int) -> str:
        return str(label) if class_names is None else f"{label} ({class_names[label]})"

    lines = [
        f"  class {name(case.label)}: label {name(case.other)} is given {100 * case.other_share:.1f} % of "
        f"the time, its own {100 * case.own_share:.1f} %"
        for case in advice.blocked[:SHOWN_BLOCKED]
    ]
    if len(advice.blocked) > SHOWN_BLOCKED:
        lines.append(f"  and {counted(len(advice.blocked) - SHOWN_BLOCKED, 'further class')}")
    return (
        "No loss can help here, and no a is safe: the true class is not the most frequent label of "
        f"{len(advice.blocked)} of {advice.num_classes} classes.\n"
        + "\n".join(lines)
        + "\nEven with endless data the best guess of the given label is then a wrong class, and a loss sees "
        "only given labels.\nWhat helps is knowledge from outside: relabel some rows of these classes "
        "(`jal-hf audit` ranks them), or merge classes that the labels do not tell apart."
    )


def _losses(advice: Advice) -> str:
    held = [loss.name for loss in advice.losses if loss.asymmetric]
    rest = [loss.name for loss in advice.losses if not loss.asymmetric]
    return (
        "Asymmetric under this noise, with the parameters of the nearest preset:\n"
        f"  {', '.join(held) or 'none'}\nNot, or not for every class:\n  {', '.join(rest) or 'none'}"
    )


def _suggestions(advice: Advice) -> str:
    lines = ["Worth training first:"]
    for number, suggestion in enumerate(advice.suggestions, start=1):
        lines.append(f"  {number}. {suggestion.name}({_parameters(suggestion.parameters)})")
        lines.append(f"     {suggestion.reason}")
        lines.append(f"     jal-hf train {suggestion.flags} ...")
    if not any(moves_a(suggestion.name) for suggestion in advice.suggestions):
        a = max(2.0, 1.5 * advice.minimum_a)
        lines.append(f"  JAL is not in that table; for it a = {a:.3g} is safe with a margin of 1.5.")
    return "\n".join(lines)


def _parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, (int, float)) else f"{key}={value}"
        for key, value in parameters.items()
    )


def _expected(advice: Advice) -> str:
    column = advice.expected
    lines = [
        f"Nearest in the papers: {column.dataset}, {column.noise} ({column.table}), last-epoch test accuracy "
        "in %, 3 seeds. Your data will differ; the order tends to hold."
    ]
    width = max(len(name) for name in column.accuracy)
    lines += [
        f"  {name:<{width}}  {accuracy:6.2f} ± {spread:.2f}" for name, accuracy, spread in column.ranked()
    ]
    return "\n".join(lines)


def advice_dict(advice: Advice) -> JsonObject:
    """The advice, ready for JSON; an infinite smallest a is null."""
    return {
        "num_classes": advice.num_classes,
        "noise": {
            "kind": advice.noise.kind,
            "rate": advice.noise.rate,
            "source": advice.noise.source,
            "matrix": advice.noise.matrix.tolist(),
        },
        "minimum_a": None if math.isinf(advice.minimum_a) else advice.minimum_a,
        "blocked_classes": [case.label for case in advice.blocked],
        "asymmetric": {loss.name: loss.asymmetric for loss in advice.losses},
        "suggestions": [
            {"loss": item.name, "preset": item.preset, "params": item.parameters, "reason": item.reason}
            for item in advice.suggestions
        ],
        "expected": {
            "dataset": advice.expected.dataset,
            "noise": advice.expected.noise,
            "table": advice.expected.table,
            "accuracy": advice.expected.accuracy,
        },
    }
