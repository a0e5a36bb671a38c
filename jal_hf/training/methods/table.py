"""The table of training methods, for the documentation."""

from __future__ import annotations

from jal_hf.training.methods.registry import default_parameters, list_methods, method_info


def markdown_table() -> str:
    """The documentation's table of methods in Markdown; ends without a newline."""
    lines = ["| name | training loss | cost | state | defaults | source |", "|---|---|---|---|---|---|"]
    for name in list_methods():
        info = method_info(name)
        values = default_parameters(name)
        defaults = ", ".join(
            f"{key} {'by the loss' if value is None else value}" for key, value in values.items()
        )
        formula = info.formula.replace("|", "\\|")
        lines.append(
            f"| `{name}` | `{formula}` | {info.cost} | {info.state} | {defaults or '-'} | {info.source} |"
        )
    return "\n".join(lines)
