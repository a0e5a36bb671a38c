"""What a training method costs beside the loss alone: the time of a step under each, in one run.

The methods take turns, round by round, on the protocol of a recipe with random images, so that no data is needed; the
median of the rounds counts. On a CPU it is the processor's time, which a busy machine disturbs less.

    python examples/benchmarks/methods.py --recipe cifar10 --steps 6 --rounds 3
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import torch
from launches import random_images
from loops import StepClock

from jal_hf.runs.config import RunConfig
from jal_hf.runs.parts import build_trainer, load_data


class Case(NamedTuple):
    """A method with its parameters, and the most its step may take beside that of the loss alone."""

    name: str
    method: str
    parameters: dict[str, Any]
    most: float


CASES = (
    Case("plain", "plain", {}, 1.0),
    Case("ema", "ema", {}, 1.05),
    Case("mixup", "mixup", {}, 1.05),
    Case("elr", "elr", {"targets": "rows"}, 1.05),
    Case("elr with teacher", "elr", {"targets": "teacher"}, 1.4),
    Case("twin", "twin", {}, 2.1),
    Case("ema+gate+twin", "ema+gate+twin", {"gate": {"warmup": 0.0}}, 2.15),
)


def seconds_of_a_step(
    case: Case, recipe: str, data: datasets.DatasetDict | None, warmup: int, steps: int, **changes: Any
) -> float:
    """Seconds of a step: on a GPU of the clock, on a CPU of the processor.

    Args:
        case: The method.
        recipe: Whose protocol is followed.
        data: Splits in place of the recipe's.
        warmup: Steps before those that are timed.
        steps: Steps that are timed.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = RunConfig.from_recipe(
            recipe,
            output_dir=folder,
            max_steps=warmup + steps,
            method=case.method,
            method_args=case.parameters,
            loss="jal-ce",
            noise="none",
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **changes,
        )
        clock = StepClock(warmup, warmup + steps)
        trainer = build_trainer(settings, load_data(settings, data), callbacks=[clock])
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
    on_gpu = trainer.args.device.type == "cuda"
    return (clock.spent.wall if on_gpu else clock.spent.cpu) / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="cifar10", help="Recipe whose protocol is followed.")
    parser.add_argument("--warmup", type=int, default=5, help="Steps before those that are timed.")
    parser.add_argument("--steps", type=int, default=6, help="Steps of a round that are timed.")
    parser.add_argument("--rounds", type=int, default=3, help="Turns of each method.")
    parser.add_argument("--use_cpu", action="store_true", help="Leave a GPU alone.")
    parser.add_argument("--output", help="JSON file for the figures.")
    asked = parser.parse_args()
    settings = RunConfig.from_recipe(asked.recipe, output_dir="none")
    side, channels = settings.data.image_size or 8, len(settings.data.image_mean or [0.5])
    rows = settings.training["per_device_train_batch_size"] * (asked.warmup + asked.steps + 1)
    data = datasets.DatasetDict(
        {name: random_images(count, 10, side, channels) for name, count in (("train", rows), ("test", 64))}
    )
    taken: dict[str, list[float]] = {case.name: [] for case in CASES}
    for _ in range(asked.rounds):
        for case in CASES:
            seconds = seconds_of_a_step(
                case, asked.recipe, data, asked.warmup, asked.steps, use_cpu=asked.use_cpu
            )
            taken[case.name].append(seconds)
    seconds_of = {name: statistics.median(values) for name, values in taken.items()}
    ratios = {name: seconds / seconds_of["plain"] for name, seconds in seconds_of.items()}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() and not asked.use_cpu else "CPU"
    print(f"| {asked.recipe}, {device} | ms a step | beside plain | wanted |\n| --- | ---: | ---: | ---: |")
    for case in CASES:
        print(
            f"| {case.name} | {1000 * seconds_of[case.name]:.1f} | {ratios[case.name]:.2f} | {case.most:.2f} |"
        )
    if asked.output:
        found = {case.name: {"ratio": ratios[case.name], "most": case.most} for case in CASES}
        Path(asked.output).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
