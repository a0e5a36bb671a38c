"""What is claimed of training on a GPU, measured part by part, each in a process of its own, as one table.

A part that fails or takes too long leaves its line in the table and the others go on. See gpu.sh.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MARK = "rows="
SEEDS = 3


@dataclass(frozen=True)
class Row:
    """One measured figure beside what is wanted of it."""

    what: str
    value: str
    wanted: str = ""
    is_met: bool | None = None

    def line(self) -> str:
        """The row in Markdown."""
        met = "" if self.is_met is None else "yes" if self.is_met else "**no**"
        return f"| {self.what} | {self.value} | {self.wanted} | {met} |"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", help="Local folder of CIFAR-10.")
    parser.add_argument("--smoke", action="store_true", help="Small, on digits and the CPU: does it run?")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS), help="Only these.")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    return parser.parse_args()


def common(asked: argparse.Namespace) -> list[str]:
    """Flags that choose recipe and data for throughput.py and protocol.py."""
    return ["--recipe", "digits" if asked.smoke else "cifar10"] + (
        ["--dataset", str(Path(asked.dataset).resolve())] if asked.dataset else []
    )


def figures_of(script: str, words: list[str]) -> dict[str, Any]:
    """Run a script of this folder with --output and read that file."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures.json")
        subprocess.run([sys.executable, str(HERE / script), *words, "--output", str(figures)], check=True)
        content: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return content


def machine(asked: argparse.Namespace) -> list[Row]:
    """What it was measured on."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return [Row("machine", f"{device}, torch {torch.__version__}")]


def losses(asked: argparse.Namespace) -> list[Row]:
    """Every loss with a closed-form slope beside cross entropy."""
    import torch
    from losses import measure

    from jal_hf import create_loss, list_losses

    names = [name for name in list_losses() if create_loss(name).slope is not None]
    shapes, names = (["64x10"], names[:2]) if asked.smoke else (["4096x1000", "8192x32000"], names)
    device, dtype = ("cpu", torch.float32) if asked.smoke else ("cuda", torch.bfloat16)
    rows = []
    for shape in shapes:
        ratios = {
            name: ratio for name, _, ratio, _ in measure(names, shape, device, dtype, 3) if name != "ce"
        }
        ratios = {name: ratio for name, ratio in ratios.items() if name in names}
        slowest = max(ratios, key=lambda name: ratios[name])
        over = sum(ratio > 1.1 for ratio in ratios.values())
        value = f"{ratios[slowest]:.2f} x ({slowest}); {over} of {len(ratios)} over 1.1"
        rows.append(Row(f"slowest loss / cross entropy, {shape}", value, "at most 1.1 x", over == 0))
    return rows


STEPS_WATCHED: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("captured", "on", "plain", {}),
    ("captured, elr and mixup", "on", "elr+mixup", {}),
    ("captured, refurbish", "on", "refurbish", {"start": 0.0}),
    ("captured, ema+gate+twin", "on", "ema+gate+twin", {"gate": {"warmup": 0.0}}),
    ("captured, gate after 8 steps", "on", "gate", {"warmup": 0.25}),
    ("eager", "off", "plain", {}),
)
"""Name, --cuda_graph, --method and its parameters, such that no phase of it begins within the steps watched."""


def syncs(asked: argparse.Namespace) -> list[Row]:
    """Steps under torch's own alarm for waits on the device, between logging steps."""
    import torch
    from transformers import TrainerCallback

    from jal_hf.runs.config import RunConfig
    from jal_hf.runs.parts import build_trainer, load_data

    class Alarm(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.set_sync_debug_mode("error" if 14 <= state.global_step < 30 else "default")

    rows, data = [], None
    for name, mode, method, parameters in STEPS_WATCHED:
        with tempfile.TemporaryDirectory() as folder:
            settings = RunConfig.from_recipe(
                "digits" if asked.smoke else "cifar10", output_dir=folder, max_steps=32, cuda_graph=mode,
                eval_strategy="no", save_strategy="no", logging_strategy="no", disable_tqdm=True, method=method,
                method_args=parameters, use_cpu=asked.smoke,
                **({"dataset": asked.dataset} if asked.dataset else {}),
            )  # fmt: skip
            data = data or load_data(settings)
            trainer = build_trainer(settings, data, callbacks=[Alarm()])
            try:
                trainer.train()
                waits, is_met = "none", True
            except RuntimeError as error:
                if "synchroniz" not in str(error):
                    raise
                ours = [
                    frame for frame in traceback.extract_tb(error.__traceback__) if "jal_hf" in frame.filename
                ]
                where = (
                    f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}"
                    if ours
                    else "not in this package"
                )
                waits, is_met = f"{str(error).splitlines()[0][:60]} ({where})", False
            finally:
                if torch.cuda.is_available():
                    torch.cuda.set_sync_debug_mode("default")
        rows.append(Row(f"waits for the device in 16 steps, {name}", waits, "none", is_met))
    return rows


def methods(asked: argparse.Namespace) -> list[Row]:
    """A step under each training method beside the loss alone."""
    words = ["--recipe", "cifar10", "--steps", "100", "--warmup", "20", "--rounds", "1"]
    if asked.smoke:
        words = ["--recipe", "digits", "--steps", "10", "--rounds", "1", "--use_cpu"]
    found = figures_of("methods.py", words)
    return [
        Row(
            f"time of a step, {name} / plain", f"{one['ratio']:.2f} x", f"at most {one['most']:.2f} x",
            one["ratio"] <= one["most"],
        )
        for name, one in found.items()
        if name != "plain"
    ]  # fmt: skip


def steps(asked: argparse.Namespace) -> list[Row]:
    """The loops in turns."""
    words = [*common(asked), "--captured"]
    if asked.smoke:
        words += ["--workers", "1", "--rounds", "1", "--steps", "3", "--warmup", "6", "--device", "cpu"]
    else:
        words += ["--workers", "8", "--rounds", "2", "--steps", "150", "--warmup", "20"]
    rounds = figures_of("throughput.py", words)["images_per_second"]
    rates = {name: statistics.median(values) for name, values in rounds.items()}
    plain, bare = list(rates)[:2]
    ours, captured, eager = (
        rates[name] for name in ("JALTrainer", "bare loop, captured", "JALTrainer, eager")
    )
    gain, below = ours / rates[plain], 1 - ours / captured
    return [
        *(Row(f"images/s, {name}", f"{rate:,.0f}") for name, rate in rates.items()),
        Row("JALTrainer / plain loop", f"{gain:.2f} x", "at least 4 x", gain >= 4),
        Row("JALTrainer below the captured bare loop", f"{100 * below:.1f} %", "at most 10 %", below <= 0.1),
        Row("JALTrainer, eager / bare loop, eager", f"{eager / rates[bare]:.2f} x"),
    ]


def protocol(asked: argparse.Namespace) -> list[Row]:
    """120 epochs, then eight cells side by side."""
    jobs = 2 if asked.smoke else 8
    words = [*common(asked), "--jobs", str(jobs), "--side_epochs", "2" if asked.smoke else "10"]
    words += ["--epochs", "2", "--use_cpu", "true", "--cuda_graph", "on"] if asked.smoke else []
    found = figures_of("protocol.py", words)
    one, ratio = found["one"], found["ratio"]
    spent = f"{one['seconds']:.0f} s, {one['accuracy']:.2f} %"
    whole = "whole protocol, evaluations and checkpoints in it"
    return [
        Row(whole, spent, "at most 150 s", one["seconds"] <= 150),
        Row("waiting for data", f"{100 * one['wait']:.1f} %"),
        Row(f"images/s of {jobs} cells at once / one run", f"{ratio:.2f} x", "at least 1.5 x", ratio >= 1.5),
    ]


def accuracy(asked: argparse.Namespace) -> list[Row]:
    """Captured and eager runs of three seeds, a few epochs each."""
    means, seeds, epochs = {}, 1 if asked.smoke else SEEDS, 2 if asked.smoke else 6
    for name, mode in (("captured", "on"), ("eager", "off")):
        with tempfile.TemporaryDirectory() as folder:
            grid = f"--losses jal-ce --noises symmetric:0.4 --seeds {','.join(map(str, range(seeds)))}"
            settings = f"--jobs {seeds} --num_train_epochs {epochs} --cuda_graph {mode}"
            words = [sys.executable, "-m", "jal_hf", "compare", *common(asked)[1:], "--out", folder]
            words += [*grid.split(), *settings.split(), *(["--use_cpu", "true"] if asked.smoke else [])]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            lines = Path(folder, "results.jsonl").read_text(encoding="utf-8").splitlines()
        means[name] = 100 * sum(json.loads(line)["accuracy"] for line in lines) / len(lines)
    apart = abs(means["captured"] - means["eager"])
    value = f"{means['captured']:.2f} and {means['eager']:.2f} %"
    return [Row(f"captured and eager, mean over seeds ({seeds})", value, "within 0.5 points", apart <= 0.5)]


# Each with the seconds it may take.
PARTS: dict[str, tuple[Callable[[argparse.Namespace], list[Row]], int]] = {
    "machine": (machine, 20),
    "syncs": (syncs, 60),
    "methods": (methods, 40),
    "losses": (losses, 50),
    "steps": (steps, 130),
    "protocol": (protocol, 190),
    "accuracy": (accuracy, 50),
}


def measured(part: str, asked: argparse.Namespace) -> list[Row]:
    """The rows of a part, from a process of its own."""
    words = [*(["--smoke"] if asked.smoke else []), *(["--dataset", asked.dataset] if asked.dataset else [])]
    command = [sys.executable, str(HERE / "gpu.py"), "--part", part, *words]
    limit = PARTS[part][1] * (10 if asked.smoke else 1)  # a busy CPU is no failure
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as error:
        print((error.stderr or b"").decode(errors="replace")[-1500:], file=sys.stderr)
        return [Row(part, f"took more than {limit} s", "", False)]
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return [Row(**row) for row in json.loads(line.removeprefix(MARK))]
    print(done.stderr[-3000:], file=sys.stderr)
    return [Row(part, f"failed with {done.returncode}", "", False)]


def main() -> None:
    """Measure all parts and print the table."""
    asked = arguments()
    if asked.part:
        print(MARK + json.dumps([vars(row) for row in PARTS[asked.part][0](asked)]))
        return
    rows, started = [], time.perf_counter()
    for part in asked.parts:
        rows += measured(part, asked)
        print(f"{part}: {time.perf_counter() - started:.0f} s so far", file=sys.stderr, flush=True)
    print("| what | measured | wanted | met |\n| --- | ---: | ---: | --- |")
    print("\n".join(row.line() for row in rows))
    print(f"\n{time.perf_counter() - started:.0f} s in all.")


if __name__ == "__main__":
    main()
