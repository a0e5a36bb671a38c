"""Seconds of a whole protocol run, and the throughput of several runs side by side on the same device.

First one `jal-hf train` with all its evaluations and checkpoints, then a `jal-hf compare` with as many seeds as jobs.
On a machine with one GPU all jobs share it.

python examples/benchmarks/protocol.py --dataset FOLDER_OF_CIFAR10
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """The command line, and what goes on to `jal-hf` as it stands."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Any other flag goes to `jal-hf train` and `jal-hf compare`, e.g. --precision fp32.",
    )
    parser.add_argument("--recipe", default="cifar10", help="Recipe whose protocol is timed.")
    parser.add_argument("--dataset", help="Local folder or Hub id; default: the recipe's.")
    parser.add_argument("--loss", default="jal-ce", help="Loss of all runs.")
    parser.add_argument("--noise", default="symmetric:0.4", help="Noise of all runs.")
    parser.add_argument("--epochs", type=int, help="Of the single run; default: the recipe's.")
    parser.add_argument(
        "--side_epochs", type=int, help="Of the runs side by side; default: as the single run."
    )
    parser.add_argument("--jobs", type=int, default=4, help="Runs side by side; 1 leaves that part out.")
    parser.add_argument("--output", metavar="FILE", help="Write all figures as JSON too.")
    return parser.parse_known_args()


def command(asked: argparse.Namespace, verb: str, epochs: int | None, rest: list[str]) -> list[str]:
    """The words of `jal-hf train` or `jal-hf compare` that both parts share."""
    words = [sys.executable, "-m", "jal_hf", verb, asked.recipe, *rest]
    words += ["--dataset", asked.dataset] if asked.dataset else []
    return words + (["--num_train_epochs", str(epochs)] if epochs else [])


def timed(words: list[str]) -> float:
    """Run a command that must succeed; wall seconds of its whole process."""
    started = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(words[1:])} ended with {done.returncode}:\n{done.stderr[-1500:]}")
    return spent


def training_of(folder: Path) -> dict[str, Any]:
    """What a finished run recorded: images trained on, seconds of training, last-epoch accuracy in percent."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    training = record["training"]
    return {
        "images": training["epochs"] * record["dataset"]["rows"],
        "seconds": training["seconds"],
        "wait": training["data_wait_share"],
        "precision": training["precision"],
        "device": record["hardware"]["device"],
        "accuracy": 100 * record["metrics"]["last"]["accuracy"],
    }


def single_run(asked: argparse.Namespace, rest: list[str], folder: Path) -> dict[str, Any]:
    """One run of `jal-hf train`."""
    words = command(asked, "train", asked.epochs, rest)
    words += [
        "--loss",
        asked.loss,
        "--noise",
        asked.noise,
        "--output_dir",
        str(folder),
        "--disable_tqdm",
        "true",
    ]
    spent = timed(words)
    return {**training_of(folder), "command_seconds": spent}


def runs_side_by_side(asked: argparse.Namespace, rest: list[str], folder: Path) -> list[dict[str, Any]]:
    """`jobs` seeds of the same cell at once."""
    words = command(asked, "compare", asked.side_epochs or asked.epochs, rest)
    words += [
        "--losses",
        asked.loss,
        "--noises",
        asked.noise,
        "--out",
        str(folder),
        "--jobs",
        str(asked.jobs),
    ]
    timed([*words, "--seeds", ",".join(map(str, range(asked.jobs)))])
    return [training_of(record.parent) for record in sorted(folder.glob("*/run.json"))]


def main() -> None:
    """Measure both parts and print the table."""
    asked, rest = arguments()
    with tempfile.TemporaryDirectory() as place:
        one = single_run(asked, rest, Path(place, "one"))
        rate = one["images"] / one["seconds"]
        print(f"{asked.recipe}, {asked.loss}, {asked.noise}, {one['device']}, {one['precision']}\n")
        print(
            "| runs at once | seconds of training | images/s, all together | waiting for data | last epoch |"
        )
        print("| ---: | ---: | ---: | ---: | ---: |")
        wait = f"{100 * one['wait']:.1f} %"
        print(f"| 1 | {one['seconds']:.1f} | {rate:.0f} | {wait} | {one['accuracy']:.2f} % |", flush=True)
        several = runs_side_by_side(asked, rest, Path(place, "many")) if asked.jobs > 1 else []
    content: dict[str, Any] = {"one": one, "several": several}
    if several:
        # They start together, so the slowest one's time is that of all.
        slowest = max(run["seconds"] for run in several)
        together = sum(run["images"] for run in several) / slowest
        wait = f"{100 * max(run['wait'] for run in several):.1f} %"
        mean = sum(run["accuracy"] for run in several) / len(several)
        print(f"| {len(several)} | {slowest:.1f} | {together:.0f} | {wait} | {mean:.2f} % |")
        print(f"\n{len(several)} runs side by side / one run: {together / rate:.2f}")
        content["ratio"] = together / rate
    print(f"The single command took {one['command_seconds']:.1f} s from its start to its end.")
    if asked.output:
        Path(asked.output).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
