"""Training images a second of JALTrainer, beside a plain loop and beside our own loop without the Trainer.

All loops take the same network, images, labels, loss and optimizer, in one run, in interleaved rounds; the median of
the rounds counts. The plain loop has a process of its own, where nothing that this package sets for the whole process
can help it. With --peer a checkout of the JAL authors' code is timed on the same images as well.

python examples/benchmarks/throughput.py --dataset FOLDER_OF_CIFAR10
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import Clock, Spent
from loops import StepClock, bare_loop, captured_loop, plain_loop

from jal_hf.runs.config import RunConfig
from jal_hf.runs.parts import build_trainer, image_dataset, load_data

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe", default="cifar10", help="Recipe with small images whose protocol is timed."
    )
    parser.add_argument("--dataset", help="Local folder or Hub id; default: the recipe's.")
    parser.add_argument("--steps", type=int, default=60, help="Timed steps of a round.")
    parser.add_argument("--warmup", type=int, default=10, help="Steps before the clock starts, each round.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds; every loop runs once in each.")
    parser.add_argument("--batch", type=int, default=128, help="Images a step.")
    parser.add_argument("--precision", default="auto", help="Of our loops: auto, fp32, bf16 or fp16.")
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto", help="cpu leaves a GPU unused.")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="Of the plain loop.")
    parser.add_argument("--compile", action="store_true", help="Time JALTrainer with --torch_compile too.")
    parser.add_argument(
        "--captured",
        action="store_true",
        help="JALTrainer captured; eager and a bare captured loop beside it.",
    )
    parser.add_argument("--peer", metavar="DIR", help="Checkout of the JAL authors' code (main.py in it).")
    parser.add_argument("--output", metavar="FILE", help="Write all figures as JSON too.")
    return parser.parse_args()


def settings_of(asked: argparse.Namespace, folder: str, **changes: Any) -> RunConfig:
    """The recipe's settings for a short run without evaluation and saving."""
    optional = {"dataset": asked.dataset} if asked.dataset else {}
    return RunConfig.from_recipe(
        asked.recipe,
        output_dir=folder,
        noise="symmetric:0.4",
        loss="jal-ce",
        per_device_train_batch_size=asked.batch,
        max_steps=asked.warmup + asked.steps,
        eval_strategy="no",
        save_strategy="no",
        precision=asked.precision,
        disable_tqdm=True,
        use_cpu=asked.device == "cpu",
        **optional,
        **changes,
    )


def main() -> None:
    """Time, print the table and the ratios."""
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        settings = settings_of(asked, folder)
        data = load_data(settings)
        ours = settings_of(asked, folder, cuda_graph="on") if asked.captured else settings
        bare = bare_loop(settings, data)
        plain = closing.enter_context(plain_timer(asked, folder))
        loops: dict[str, Callable[[], Spent]] = {
            f"plain loop (PIL, {asked.workers} workers, fp32)": plain,
            "bare loop": lambda: time_loop(asked, bare),
            "JALTrainer": lambda: time_trainer(asked, ours, data),
        }
        if asked.captured:
            eager = settings_of(asked, folder, cuda_graph="off")
            captured = captured_loop(settings, data)
            loops["JALTrainer, eager"] = lambda: time_trainer(asked, eager, data)
            loops["bare loop, captured"] = lambda: time_loop(asked, captured)
        if asked.compile:
            compiled = settings_of(asked, folder, torch_compile=True)
            loops["JALTrainer, torch.compile"] = lambda: time_trainer(asked, compiled, data)
        if asked.peer:
            loops["the authors' code"] = peer_timer(asked, settings, data, Path(folder))
        spent: dict[str, list[Spent]] = {name: [] for name in loops}
        for number in range(asked.rounds):
            for name, timed in loops.items():
                spent[name].append(timed())
                rate = asked.steps * asked.batch / spent[name][-1].wall
                print(f"round {number + 1}, {name}: {rate:.0f} images/s", file=sys.stderr, flush=True)
    report(asked, settings, spent)


@contextlib.contextmanager
def plain_timer(asked: argparse.Namespace, folder: str) -> Iterator[Callable[[], Spent]]:
    """A plain loop in a process of its own, which times a round whenever it is asked."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_plain_loop, args=(asked, folder, theirs))
    process.start()
    theirs.close()

    def timed() -> Spent:
        ours.send("round")
        spent: Spent = ours.recv()
        return spent

    try:
        yield timed
    finally:
        ours.send(None)
        process.join()


def serve_plain_loop(asked: argparse.Namespace, folder: str, pipe: Connection) -> None:
    """What that process does until it is sent None."""
    settings = settings_of(asked, f"{folder}/plain")
    loop = plain_loop(settings, load_data(settings), asked.workers)
    while pipe.recv() is not None:
        pipe.send(time_loop(asked, loop))
    loop.close()


def time_loop(asked: argparse.Namespace, loop: Iterator[None]) -> Spent:
    """One round of an endless loop."""
    for _ in range(asked.warmup):
        next(loop)
    clock = Clock()
    clock.start()
    for _ in range(asked.steps):
        next(loop)
    return clock.stop()


def time_trainer(asked: argparse.Namespace, settings: RunConfig, data: Any) -> Spent:
    """One short training by JALTrainer, from the end of its last warm-up step."""
    clock = StepClock(asked.warmup, asked.warmup + asked.steps)
    trainer = build_trainer(settings, data, callbacks=[clock])
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return clock.spent


def peer_timer(
    asked: argparse.Namespace, settings: RunConfig, data: Any, folder: Path
) -> Callable[[], Spent]:
    """A copy of the checkout with the images beside it; its own batch of 128 and its own noise."""
    copy, images = folder / "peer", folder / "images.npz"
    shutil.copytree(asked.peer, copy, ignore=shutil.ignore_patterns(".git"))
    model = build_trainer(settings, data).model
    arrays = {}
    for split in ("train", "test"):
        part = image_dataset(settings, data, split, model)
        column = "clean_label" if "clean_label" in part.columns else "labels"
        arrays[f"{split}_images"] = part.images.numpy()
        arrays[f"{split}_labels"] = part.columns[column].numpy()
    np.savez(images, **arrays)
    command = [sys.executable, str(HERE / "peer_steps.py"), "main.py", str(images), str(asked.warmup)]
    command += [str(asked.steps), "--dataset", "cifar10", "--loss", "NCEandAMSE", "--noise_rate", "0.4"]

    def timed() -> Spent:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            if line.startswith("seconds="):
                wall, cpu = (float(word) for word in line.partition("=")[2].split(","))
                return Spent(wall * asked.batch / 128, cpu * asked.batch / 128)
        raise SystemExit(f"The code in {asked.peer} did not run:\n{done.stderr[-1500:]}")

    return timed


def report(asked: argparse.Namespace, settings: RunConfig, spent: dict[str, list[Spent]]) -> None:
    """Print medians and ratios, and write them where that was asked."""
    images = asked.steps * asked.batch
    rates = {name: [images / one.wall for one in rounds] for name, rounds in spent.items()}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    cpu = {
        name: statistics.median(1e6 * one.cpu / images for one in rounds) for name, rounds in spent.items()
    }
    plain, bare = list(medians)[:2]
    ours = medians["JALTrainer"]
    args = settings.arguments()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"\n{asked.recipe}, batch {asked.batch}, {args.device}, {args.precision_name} ({args.hardware_reason}),"
    )
    print(
        f"channels_last {args.channels_last}, {torch.get_num_threads()} threads, torch {torch.__version__},"
    )
    print(f"{asked.rounds} rounds of {asked.steps} steps; load of the machine {load:.1f}\n")
    width = max(map(len, medians))
    print(f"| {'loop':<{width}} | images/s | CPU time, us an image | rounds |")
    print(f"| {'-' * width} | -------: | --------------------: | ------ |")
    for name, values in rates.items():
        rounds = ", ".join(f"{value:.0f}" for value in values)
        print(f"| {name:<{width}} | {medians[name]:>8.0f} | {cpu[name]:>21.0f} | {rounds} |")
    print(
        f"\nJALTrainer / plain loop: {ours / medians[plain]:.2f}, by CPU time {cpu[plain] / cpu['JALTrainer']:.2f}"
    )
    overhead, cpu_overhead = medians[bare] / ours - 1, cpu["JALTrainer"] / cpu[bare] - 1
    print(f"Overhead over the bare loop: {100 * overhead:.1f} %, by CPU time {100 * cpu_overhead:.1f} %")
    for name in list(medians)[3:]:
        print(f"JALTrainer / {name}: {ours / medians[name]:.2f}")
    if asked.output:
        facts = {"precision": args.precision_name, "device": str(args.device), "load": load}
        content = {**vars(asked), **facts, "images_per_second": rates, "cpu_microseconds_an_image": cpu}
        Path(asked.output).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
