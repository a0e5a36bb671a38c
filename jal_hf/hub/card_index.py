"""`python -m jal_hf.hub.card_index FOLDER`: render the card beside each run.json below FOLDER, and an index
of them. With `--add RUN ...`, first copy the record and the pictures of these runs to FOLDER.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from jal_hf.ground.files import write_text
from jal_hf.ground.record import RunRecord
from jal_hf.hub.card_facts import training_time
from jal_hf.hub.metadata import dataset_label
from jal_hf.hub.model_card import write_card
from jal_hf.hub.text import code, percent, plain

_HEAD = """# Cards of runs that took place

Each card is rendered from the `run.json` beside it, and a test renders it again and compares. Accuracies are
those of the last epoch on the clean test split, or of the epoch whose weights a card says it holds.

After a new run: `python -m jal_hf.hub.card_index model_cards --add runs/NAME`; after a grid:
`python -m jal_hf.hub.card_index model_cards --prefix NAME- --add runs/NAME/*-seed*`

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
        record = RunRecord.read(run)
        cells = (
            f"[{plain(run.name)}]({run.name}/README.md)",
            plain(dataset_label(record)),
            code(record.noise.get("spec", "none")),
            code(record.trained_with),
            percent(record.headline.get("accuracy")),
            training_time(record.training) or "-",
        )
        rows.append(f"| {' | '.join(cells)} |\n")
    return _HEAD + "".join(rows)


def add_run(run: Path, target: Path) -> None:
    """Copy record and pictures of a run; the pictures with 256 colours, which takes 60 % off their size.

    Raises:
        FileNotFoundError: `run` holds no run.json.
    """
    (target / "plots").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "run.json", target / "run.json")
    for picture in sorted((run / "plots").glob("*.png")):
        with Image.open(picture, formats=("PNG",)) as content:
            few = content.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(target / "plots" / picture.name, optimize=True)


def main(words: Sequence[str] | None = None) -> int:
    """Write the cards and the index."""
    parser = argparse.ArgumentParser(prog="python -m jal_hf.hub.card_index", description=__doc__)
    parser.add_argument("folder", type=Path, help="Folder with a folder for each run.")
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], metavar="RUN", help="Finished runs to copy."
    )
    parser.add_argument("--prefix", default="", help="Put before the names of the added runs.")
    asked = parser.parse_args(words)
    for run in asked.add:
        if not (run / "run.json").is_file():
            parser.error(f"{run} holds no run.json, so it is not a finished run.")
    if not asked.folder.is_dir():
        parser.error(f"{asked.folder} is not a folder.")
    for run in asked.add:
        add_run(run, asked.folder / f"{asked.prefix}{run.name}")
    for run in run_folders(asked.folder):
        print(write_card(run))
    write_text(asked.folder / "README.md", render_index(asked.folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
