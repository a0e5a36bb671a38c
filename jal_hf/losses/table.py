"""The table of losses, for the documentation, the command line and the cards."""

from __future__ import annotations

from jal_hf.losses.factory import create_loss
from jal_hf.losses.registry import LossInfo, all_infos


def loss_rows() -> list[tuple[str, str, str, str, str]]:
    """(name, kind, symmetry, defaults, summary) of every loss, those reported only included."""
    return [
        (info.name, info.kind, info.symmetry, describe_defaults(info), info.summary) for info in all_infos()
    ]


def describe_defaults(info: LossInfo) -> str:
    """`alpha 1, beta 1, a 30`: the parameters of `create_loss(name)` but for eps; `-` without parameters."""
    if info.reported_only:
        return "not implemented"
    values = create_loss(info.name).hyperparameters()
    shown = {name: value for name, value in values.items() if name != "eps" and value is not None}
    return ", ".join(f"{name} {_short(value)}" for name, value in shown.items()) or "-"


def markdown_table() -> str:
    """The documentation's table of losses in Markdown; ends without a newline."""
    lines = ["| name | formula | kind | robustness | defaults |", "|---|---|---|---|---|"]
    for info in all_infos():
        formula = "reported only: " + info.reason if info.reported_only else f"`{info.formula or '-'}`"
        formula = formula.replace("|", "\\|")
        lines.append(
            f"| `{info.name}` | {formula} | {info.kind} | {info.symmetry} | {describe_defaults(info)} |"
        )
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
