"""ATen operators that a training step dispatches, a stand-in for the kernels that a GPU would be asked for.

On a GPU the host launches them one by one, so a step of small kernels takes as long as its launches. Counted on the
CPU on random images, so that it needs neither GPU nor data: the plain loop, our bare loop and JALTrainer under one
protocol. Views are left out. A host read is an operator that waits for the device: `.item()`, `bool(tensor)`.
Operators of DataLoader workers are not counted, for they are launched elsewhere.

python examples/benchmarks/launches.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
from loops import bare_loop, plain_loop
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from jal_hf.runs.config import RunConfig
from jal_hf.runs.parts import build_trainer, load_data

WARMUP, STEPS = 3, 2
HOST_READS = ("aten::_local_scalar_dense", "aten::is_nonzero")


@dataclass
class Operators:
    """What some steps dispatched.

    Attributes:
        counts: Dispatches by operator, views left out.
        steps: Over how many steps.
    """

    counts: Counter[str] = field(default_factory=Counter)
    steps: int = STEPS

    @property
    def a_step(self) -> float:
        """Operators a step."""
        return sum(self.counts.values()) / self.steps

    @property
    def host_reads(self) -> float:
        """Waits for the device a step."""
        return sum(self.counts[name] for name in HOST_READS) / self.steps


class OperatorCount(TorchDispatchMode):
    """Counts operators while it is entered."""

    def __init__(self, operators: Operators) -> None:
        super().__init__()
        self.operators = operators

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operator and run it."""
        schema = func._schema
        is_view = any(value.alias_info and not value.alias_info.is_write for value in schema.returns)
        if not is_view and not schema.name.startswith("profiler::"):
            self.operators.counts[schema.name] += 1
        return func(*args, **(kwargs or {}))


class CountedSteps(TrainerCallback):
    """Counts from the end of step `WARMUP` of a Trainer to the end of the last of `STEPS` more."""

    def __init__(self) -> None:
        self.operators = Operators()
        self._mode = OperatorCount(self.operators)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start or end the count."""
        if state.global_step == WARMUP:
            self._mode.__enter__()
        if state.global_step == WARMUP + STEPS:
            self._mode.__exit__(None, None, None)


def random_images(rows: int, classes: int, side: int, channels: int, seed: int = 0) -> datasets.Dataset:
    """Rows of random pixels with random labels, as a dataset of the Hub would hold them."""
    generator = np.random.default_rng(seed)
    shape = (rows, side, side, channels) if channels == 3 else (rows, side, side)
    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
    names = [str(label) for label in range(classes)]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    content = {
        "image": [Image.fromarray(picture) for picture in pixels],
        "label": generator.integers(0, classes, rows).tolist(),
    }
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def count_loop(loop: Iterator[None]) -> Operators:
    """Operators of a loop that yields after each step."""
    operators = Operators()
    for _ in range(WARMUP):
        next(loop)
    with OperatorCount(operators):
        for _ in range(STEPS):
            next(loop)
    return operators


def count_trainer(settings: RunConfig, data: Any) -> Operators:
    """Operators of JALTrainer between logging steps."""
    counted = CountedSteps()
    trainer = build_trainer(settings, data, callbacks=[counted])
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return counted.operators


def count_all(recipe: str, batch: int, precision: str, folder: str, **changes: Any) -> dict[str, Operators]:
    """The operators of each loop by name."""
    asked = {"noise": "symmetric:0.4", "loss": "jal-ce", "per_device_train_batch_size": batch}
    settings = RunConfig.from_recipe(
        recipe,
        output_dir=folder,
        max_steps=WARMUP + STEPS + 1,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        precision=precision,
        disable_tqdm=True,
        use_cpu=True,
        **{**asked, **changes},
    )
    mean, side = settings.data.image_mean or [0.5], settings.data.image_size or 8
    splits = {
        name: random_images(rows, 10, side, len(mean))
        for name, rows in (("train", 2 * (WARMUP + STEPS) * batch), ("test", batch))
    }
    data = load_data(settings, datasets.DatasetDict(splits))
    return {
        "plain loop (PIL, 1 worker, fp32)": count_loop(plain_loop(settings, data, workers=1)),
        f"bare loop ({precision})": count_loop(bare_loop(settings, data)),
        f"JALTrainer ({precision})": count_trainer(settings, data),
    }


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="cifar10", help="Recipe whose protocol is counted.")
    parser.add_argument("--batch", type=int, default=128, help="Images a step.")
    parser.add_argument("--precision", default="bf16", choices=["bf16", "fp32"], help="Of our loops.")
    parser.add_argument("--list", action="store_true", help="Name JALTrainer's operators too.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = count_all(asked.recipe, asked.batch, asked.precision, folder)
    print(
        f"| {asked.recipe}, batch {asked.batch} | operators a step | host reads a step |\n| --- | ---: | ---: |"
    )
    for name, operators in found.items():
        print(f"| {name} | {operators.a_step:.0f} | {operators.host_reads:.0f} |")
    if asked.list:
        for name, count in list(found.values())[-1].counts.most_common():
            print(f"{count / STEPS:6.1f}  {name}")


if __name__ == "__main__":
    main()
