"""What the documentation does not say by hand: tables from the registries, figures from the published records.

    python examples/docs/generated.py           # writes them into README.md and the pages, between their markers
    python examples/docs/generated.py --check   # names what is stale instead

A page holds `<!-- losses:start -->` and `<!-- losses:end -->` around a table, and
`<!-- record digits-ce last.accuracy -->` and `<!-- /record -->` around a figure of `model_cards/digits-ce/run.json`.
The build of the site fills them too, and `<!-- help:start -->`, which stays empty in the sources.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jal_hf.analysis.tables import GridTable, grid_table
from jal_hf.analysis.tables import markdown_table as grid_markdown
from jal_hf.cli.main import available
from jal_hf.cli.main import main as command_line
from jal_hf.ground.record import RunRecord
from jal_hf.losses import markdown_table as losses_table
from jal_hf.noise.registry import list_noises, noise_info
from jal_hf.runs.grid.cells import Cell
from jal_hf.runs.grid.ledger import result_line
from jal_hf.runs.recipes import list_recipes, load_recipe
from jal_hf.training.methods.table import markdown_table as methods_table

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent.parent
GRIDS = {
    "mnist": (
        ["ce", "gce", "nce", "aul", "agce", "ael", "jal-ce"],
        ["symmetric:0.8", "asymmetric:0.4"],
    ),
    "cifar10": (
        ["ce", "anl-ce", "jal-ce", "jal-fl", "jal-ce ema+twin"],
        [
            "symmetric:0.8",
            "asymmetric:0.4",
            "labels:idn.parquet#idn_0.6",
            "human:cifar10n.parquet#worse_label",
        ],
    ),
    "cifar10-short": (["ce", "nce+agce", "jal-ce"], ["symmetric:0.4"]),
    "cifar10-study": (
        [
            "jal-ce",
            "jal-ce ema",
            "jal-ce mixup",
            "jal-ce elr",
            "jal-ce twin",
            "jal-ce ema+twin",
            "jal-ce ema+gate+twin",
        ],
        [
            "symmetric:0.4",
            "symmetric:0.8",
            "asymmetric:0.4",
            "labels:idn.parquet#idn_0.6",
            "human:cifar10n.parquet#worse_label",
        ],
    ),
    "cifar10-5000": (
        ["ce", "jal-ce", "jal-ce ema+gate+twin"],
        ["symmetric:0.4", "symmetric:0.8", "human:cifar10n.parquet#worse_label"],
    ),
}
WHOLE_PROTOCOL = ("mnist", "cifar10")
"""Grids that the papers' figures stand beside; the others are shorter."""
SHOWN_SETTINGS = (
    "dataset", "noise", "model", "loss", "optim", "learning_rate", "num_train_epochs", "per_device_train_batch_size",
)  # fmt: skip

COLAB = "https://colab.research.google.com"

_SPAN = re.compile(r"<!-- ([\w-]+):start -->\n(.*?)<!-- \1:end -->", re.DOTALL)
_FIGURE = re.compile(r"<!-- record (\S+) (\S+) -->(.*?)<!-- /record -->", re.DOTALL)


def published(grid: str) -> GridTable:
    """The table of the published runs of a grid."""
    lines = []
    longer = tuple(f"{name}-" for name in GRIDS if name.startswith(f"{grid}-"))
    for path in sorted((ROOT / "model_cards").glob(f"{grid}-*-seed*/run.json")):
        if path.parent.name.startswith(longer):
            continue
        record = RunRecord.read(path)
        # A record names the class map that the command left to the recipe.
        noise = record.noise["spec"].partition(",classes=")[0]
        method = str(record.method.get("name", "plain"))
        lines.append(result_line(Cell(record.loss["name"], noise, int(record.seed or 0), method), record))
    table = grid_table(lines, [], *GRIDS[grid])
    if grid in WHOLE_PROTOCOL:
        return table
    return replace(table, cells={place: replace(cell, paper=None) for place, cell in table.cells.items()})


def grid_of_records(grid: str) -> str:
    """Last-epoch accuracies of a published grid beside the papers'."""
    return grid_markdown(published(grid)).split("\n\n")[1]


def markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def noises_table() -> str:
    """Every registered kind of noise: how it is written, what it does, its options."""
    rows = []
    for info in map(noise_info, list_noises()):
        spec = f"`{info.kind}:{info.argument}`" if info.argument else f"`{info.kind}`"
        rows.append((spec, info.summary, ", ".join(f"`{key}`" for key in info.options) or "-"))
    return markdown(("written", "what it does", "options"), rows)


def recipes_table() -> str:
    """The main settings of every built-in recipe."""
    rows = []
    for name in list_recipes():
        settings = load_recipe(name).settings
        rows.append(
            (f"`{name}`", *(f"{settings[key]}" if key in settings else "-" for key in SHOWN_SETTINGS))
        )
    return markdown(("recipe", *(key.replace("_", " ") for key in SHOWN_SETTINGS)), rows)


def recipe_sources() -> str:
    """Where the values of each recipe come from, as the recipe says."""
    parts = []
    for name in list_recipes():
        recipe = load_recipe(name)
        paper = recipe.protocol.get("paper") or "no paper stands behind these settings"
        lines = [f"- `{key}`: {text}" for key, text in recipe.sources.items()]
        parts.append(f"**{name}**: {recipe.description} *Protocol*: {paper}.\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def commands_table() -> str:
    """Every subcommand of this installation."""
    return markdown(("command", "does"), [(f"`jal-hf {name}`", text) for name, text in available().items()])


def command_help() -> str:
    """What `jal-hf COMMAND --help` prints, for every command."""
    parts = []
    for name in available():
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            command_line([name, "--help"])
        parts.append(f"## jal-hf {name}\n\n```text\n{shown.getvalue().rstrip()}\n```")
    return "\n\n".join(parts)


def notebooks_table(repository: str | None = None) -> str:
    """Every tutorial that is a notebook; with the `OWNER/NAME` that it lies in on GitHub, a badge opens it on Colab."""
    rows = []
    for path in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")):
        title = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).splitlines()[0]
        row = (f"[{title.lstrip('# ')}](../notebooks/{path.name})",)
        if repository:
            place = f"{COLAB}/github/{repository}/blob/main/examples/notebooks/{path.name}"
            row += (f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({place})",)
        rows.append(row)
    return markdown(("as a notebook", *(("on Colab",) if repository else ())), rows)


SPANS: dict[str, Callable[[], str]] = {
    "losses": losses_table,
    "methods": methods_table,
    "noises": noises_table,
    "recipes": recipes_table,
    "recipe-sources": recipe_sources,
    "notebooks": notebooks_table,
    **{grid: (lambda grid=grid: grid_of_records(grid)) for grid in GRIDS},
}
# Only in the built site: they change with every command, and `jal-hf --help` is at hand where the sources are.
SITE_SPANS: dict[str, Callable[[], str]] = {"commands": commands_table, "help": command_help}


def figure(run: str, place: str) -> str:
    """A figure of a published record: `last.accuracy` and the like in percent, `training.seconds` as it is."""
    value: Any = RunRecord.read(ROOT / "model_cards" / run).to_dict()
    for key in (place if place.startswith(("noise", "training")) else f"metrics.{place}").split("."):
        value = value[key]
    return f"{100.0 * value:.2f}" if isinstance(value, float) and 0.0 <= value <= 1.0 else f"{value:g}"


def fill(text: str, *, site: bool = False) -> str:
    """The text with every generated part as it is now.

    Raises:
        KeyError: A marker that names no table or no figure.
    """
    spans = {**SPANS, **SITE_SPANS}
    if site:
        spans["notebooks"] = lambda: notebooks_table(os.environ.get("GITHUB_REPOSITORY"))

    def span(found: re.Match[str]) -> str:
        name = found[1]
        if name in SITE_SPANS and not site:
            return found[0]
        return f"<!-- {name}:start -->\n{spans[name]()}\n<!-- {name}:end -->"

    text = _SPAN.sub(span, text)
    return _FIGURE.sub(
        lambda found: f"<!-- record {found[1]} {found[2]} -->{figure(found[1], found[2])}<!-- /record -->",
        text,
    )


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; exit with 1 where a page is stale."
    )
    given = parser.parse_args(arguments)
    stale = 0
    for page in pages():
        text = page.read_text(encoding="utf-8")
        filled = fill(text)
        if filled != text:
            stale += 1
            print(f"{'stale' if given.check else 'written'}: {page.relative_to(ROOT)}")
            if not given.check:
                page.write_text(filled, encoding="utf-8")
    return 1 if given.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
