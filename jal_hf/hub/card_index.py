"""`python -m jal_hf.hub.card_index FOLDER`: render the card beside each run.json below FOLDER, and an index
of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jal_hf.hub.metadata import dataset_label
from jal_hf.hub.model_card import load_record, replace_text, write_card
from jal_hf.hub.text import code, percent, plain

_HEAD = """# Cards of runs that took place

Each card is rendered from the `run.json` beside it, and a test renders it again and compares. Accuracies are
those of the last epoch on the clean test split.

After a new run: `python -m jal_hf.hub.card_index model_cards`

| run | dataset | noise | loss | test accuracy | time |
|---|---|---|---|---|---|
"""


def run_folders(folder: Path) -> list[Path]:
    """The folders below `folder` that hold a run.json, by name."""
    return sorted(path.parent for path in folder.glob("*/run.json"))


def render_index(folder: Path) -> str:
    """A Markdown table of the runs below `folder`, each linked to its card."""
    rows = []
    for run in run_folders(folder):
        record = load_record(run)
        last = (record.get("metrics") or {}).get("last") or {}
        seconds = (record.get("training") or {}).get("seconds")
        cells = (
            f"[{plain(run.name)}]({run.name}/README.md)",
            plain(dataset_label(record)),
            code((record.get("noise") or {}).get("spec", "none")),
            code(record["loss"]["name"]),
            percent(last.get("accuracy")),
            f"{seconds:,.0f} s" if isinstance(seconds, int | float) else "-",
        )
        rows.append(f"| {' | '.join(cells)} |\n")
    return _HEAD + "".join(rows)


def main(argv: Sequence[str]) -> int:
    """Write the cards and the index."""
    if len(argv) != 1 or not Path(argv[0]).is_dir():
        raise SystemExit("usage: python -m jal_hf.hub.card_index FOLDER")
    folder = Path(argv[0])
    for run in run_folders(folder):
        print(write_card(run))
    replace_text(folder / "README.md", render_index(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
