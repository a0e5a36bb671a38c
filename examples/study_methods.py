"""One setting of one training method for all noises of a dataset, chosen on noisy validation labels.

Every setting is trained on every noise with every seed, and judged by its accuracy on a validation split as noisy as
the training labels: the mean over seeds and the last epochs, added over the noises. No clean label is looked at. The
test accuracy stands in the table beside it, for the reader alone. A study that was stopped goes on with the same line.

    python examples/study_methods.py --recipe cifar10 --out runs/study
    python examples/study_methods.py --noises symmetric:0.8,idn:0.6,human:cifar10n.parquet#worse_label
    python examples/study_methods.py --recipe digits --settings plain,twin --num_train_epochs 10 --out runs/small

With --figures the chosen setting, the loss alone and cross entropy are trained afterwards on all rows under every noise
and seed, for the figures that are published and the picture of test accuracy over the epochs: OUT/figures. The whole of
CIFAR-10 on a GPU:

    python examples/study_methods.py --dataset FOLDER_OF_CIFAR10 --jobs auto --figures --seeds 0,1,2 \
        --noises symmetric:0.4,symmetric:0.8,asymmetric:0.4,idn:0.6,human:cifar10n.parquet#worse_label
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from jal_hf import RunConfig
from jal_hf.ground.files import write_json, write_text
from jal_hf.ground.record import RunRecord
from jal_hf.ground.run_log import read_log
from jal_hf.runs.grid.cells import plan_cells
from jal_hf.runs.grid.compare import compare

LAST_EPOCHS = 5
CIFAR10_NOISES = ("symmetric:0.4", "symmetric:0.8", "asymmetric:0.4", "idn:0.6")


class Setting(NamedTuple):
    """A method with its parameters, in the form of --method and --method_args."""

    method: str
    parameters: Mapping[str, Any]


SETTINGS: dict[str, Setting] = {
    "plain": Setting("plain", {}),
    "ema": Setting("ema", {}),
    "warmup": Setting("warmup", {}),
    "mixup": Setting("mixup", {}),
    "elr": Setting("elr", {}),
    "elr-0.3": Setting("elr", {"elr": {"lambda": 0.3}}),
    "elr-1": Setting("elr", {"elr": {"lambda": 1.0}}),
    "elr-3": Setting("elr", {"elr": {"lambda": 3.0}}),
    "elr+mixup+ema": Setting("ema+elr+mixup", {}),
    "twin": Setting("twin", {}),
    "twin-2": Setting("twin", {"twin": {"consistency": 2.0}}),
    "twin+ema": Setting("ema+twin", {}),
    "warmup+twin+ema": Setting("ema+warmup+twin", {}),
    "twin+gate": Setting("gate+twin", {}),
    "twin+gate+ema": Setting("ema+gate+twin", {}),
    "twin+gate+refurbish+ema": Setting("ema+refurbish+gate+twin", {}),
}


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Train what is left, write `table.md` and `choice.json`, print the table.

    Returns:
        The sum over the noises of the noisy validation accuracy, by setting; fractions.
    """
    own, flags = parser().parse_known_args(words)
    changes = {name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
    noises, seeds = own.noises.split(","), [int(seed) for seed in own.seeds.split(",")]
    base = RunConfig.from_recipe(own.recipe, val_fraction=0.1, **changes)
    names = own.settings.split(",")
    rows: dict[str, tuple[float, float]] = {}
    for name in names:
        setting, folder = SETTINGS[name], own.out / name
        shared = base.replace(method_args=dict(setting.parameters)) if setting.parameters else base
        cells = plan_cells([own.loss], noises, seeds, [setting.method])
        compare(shared, cells, folder, jobs=own.jobs)
        figures = [
            [cell_figures(folder / cell.folder) for cell in cells if cell.noise == noise] for noise in noises
        ]
        rows[name] = (
            sum(fmean(noisy for noisy, _ in part) for part in figures),
            fmean(test for part in figures for _, test in part),
        )
        report(own.out, rows, len(noises))
    print((own.out / "table.md").read_text(encoding="utf-8"))
    if own.figures:
        train_for_figures(own, changes, noises, seeds)
    return {name: score for name, (score, _) in rows.items()}


def train_for_figures(
    own: argparse.Namespace, changes: Mapping[str, Any], noises: Sequence[str], seeds: Sequence[int]
) -> None:
    """The grid of cross entropy, the loss, and the loss with the chosen setting, on all rows; prints its table."""
    choice = json.loads((own.out / "choice.json").read_text(encoding="utf-8"))
    cells = plan_cells(["ce"], noises, seeds)
    cells += plan_cells([own.loss], noises, seeds, list(dict.fromkeys(["plain", choice["method"]])))
    settings = {"method_args": choice["method_args"]} if choice["method_args"] else {}
    grid = compare(
        RunConfig.from_recipe(own.recipe, **settings, **changes), cells, own.out / "figures", jobs=own.jobs
    )
    if grid.table is not None:
        print(grid.table.read_text(encoding="utf-8"))


def cell_figures(run: Path) -> tuple[float, float]:
    """(noisy validation accuracy, clean test accuracy), each the mean of the last epochs' figures."""
    log = read_log(run)
    noisy = [line["validation_accuracy"] for line in log if "validation_accuracy" in line][-LAST_EPOCHS:]
    if not noisy:
        raise ValueError(f"{run} holds no noisy validation accuracy; did its run fail?")
    return fmean(noisy), float(RunRecord.read(run).last["accuracy"])


def report(out: Path, rows: Mapping[str, tuple[float, float]], noises: int) -> None:
    """The table, the best setting first, and the choice."""
    order = sorted(rows, key=lambda name: -rows[name][0])
    lines = ["| setting | noisy validation, mean over noises | clean test, mean |", "|---|---|---|"]
    lines += [
        f"| {name} | {100 * rows[name][0] / noises:.2f} | {100 * rows[name][1]:.2f} |" for name in order
    ]
    write_text(out / "table.md", "\n".join(lines) + "\n")
    best = SETTINGS[order[0]]
    write_json(
        out / "choice.json",
        {
            "setting": order[0],
            "method": best.method,
            "method_args": dict(best.parameters),
            "of": sorted(rows),
        },
    )


def parser() -> argparse.ArgumentParser:
    """The study's own flags; any other goes to `jal-hf train`."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--recipe", default="cifar10")
    result.add_argument("--loss", default="jal-ce")
    result.add_argument("--noises", default=",".join(CIFAR10_NOISES))
    result.add_argument("--seeds", default="0,1,2")
    result.add_argument("--settings", default=",".join(SETTINGS))
    result.add_argument("--out", type=Path, default=Path("runs/study-methods"))
    result.add_argument("--jobs", type=lambda word: word if word == "auto" else int(word), default=None)
    result.add_argument("--figures", action="store_true", help="Then train the choice on all rows.")
    return result


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
