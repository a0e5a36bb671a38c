"""Kill commands at random moments, run the same command again, and compare what they leave with an unkilled run.

    python examples/kill_test.py                              # 12 kills over all commands
    python examples/kill_test.py --kills 50 --seed 1          # the full test
    python examples/kill_test.py --kills 8 --only train       # those whose name begins so

Each start is a fresh interpreter. Half of the kills come at any moment, the start included, the other half after the
command has begun to write; most are SIGKILL, a quarter SIGTERM or SIGINT. Where a command has several processes, all of
them are killed or one alone. Whenever a command reaches its end, its result is compared byte by byte with that of a
command that was never killed, and another one starts until all kills were made. The exit code is 0 when all are equal.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

PROGRAM = [sys.executable, "-m", "jal_hf"]
TWO = Path(__file__).parent / "accelerate" / "cpu_2_processes.yaml"
POLL_SECONDS = 0.02
LONGEST_SECONDS = 900.0
DIGITS = "digits --precision fp32 --augment crop-flip --max_train_samples 320 --max_eval_samples 64 --disable_tqdm true"
SAVED = "--per_device_train_batch_size 32 --save_strategy steps --save_steps 3 --save_total_limit 2"
TRAIN = f"train {DIGITS} {SAVED} --num_train_epochs 3 --resume auto --output_dir"
STREAMED = "--streaming --noise symmetric:0.4,mode=iid --max_steps 26 --eval_strategy no"
STREAM = f"train {DIGITS} {SAVED} {STREAMED} --resume auto --output_dir"
GRID = f"compare {DIGITS} --losses ce,jal-ce --noises symmetric:0.4 --seeds 0 --num_train_epochs 2 --jobs 2 --out"
TUNE = f"tune {DIGITS} --loss gce --trials 4 --num_train_epochs 2 --output_dir"


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        words: the command for a folder of its own.
        results: patterns of the files that are compared, within that folder.
        share: of all kills.
        parts: of JSON files, by name, the entries that are compared; the rest holds times.
        prepare: makes what the command needs in that folder.
    """

    name: str
    words: Callable[[Path], Sequence[str]]
    results: Sequence[str]
    share: int
    parts: dict[str, Sequence[str]] = field(default_factory=dict)
    prepare: Callable[[Path], None] = lambda folder: folder.mkdir(parents=True)


def program(command: str) -> Callable[[Path], list[str]]:
    """A command whose last word is the folder `run` of the job's own."""
    return lambda folder: [*PROGRAM, *command.split(), str(folder / "run")]


def on_two_processes(folder: Path) -> list[str]:
    """`accelerate launch` with the example's config file, at a port that is free."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(TWO)]
    return [
        *launch, "--main_process_port", port, "-m", "jal_hf", *TRAIN.split(), str(folder / "run"),
        "--per_device_train_batch_size", "16",
    ]  # fmt: skip


def finished_run(folder: Path) -> None:
    """A run to audit."""
    words = f"train {DIGITS} --num_train_epochs 2 --save_strategy no --output_dir".split()
    subprocess.run(
        [*PROGRAM, *words, str(folder / "run")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def pictures(folder: Path) -> None:
    """Class folders of two colours, a few under the wrong name, and weights that stand in for published ones."""
    import timm
    import torch
    from safetensors.torch import save_file

    draw = np.random.default_rng(0)
    for number in range(80):
        name, shade = ("dark", "light")[number % 2], (60, 190)[(number % 2) ^ (number % 10 == 0)]
        place = folder / "pictures" / "train" / name
        place.mkdir(parents=True, exist_ok=True)
        noise = draw.integers(-50, 50, (32, 32, 3))
        Image.fromarray((shade + noise).astype(np.uint8)).save(place / f"{number:03}.png")
    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), str(folder / "weights.safetensors"))


def finetune(folder: Path) -> list[str]:
    words = (
        "--model resnet10t --image_size 32 --num_train_epochs 3 --precision fp32 --dataloader_num_workers 0"
    )
    return [
        *PROGRAM, "finetune", str(folder / "pictures"), "--weights", str(folder / "weights.safetensors"),
        *words.split(), "--disable_tqdm", "true", "--output_dir", str(folder / "run"),
    ]  # fmt: skip


WEIGHTS = ("run/model.safetensors", "run/run.json")
JOBS = [
    Job("train", program(TRAIN), WEIGHTS, 10, {"run.json": ["metrics"]}),
    Job("train --streaming", program(STREAM), WEIGHTS, 6, {"run.json": ["metrics"]}),
    Job("train on two processes", on_two_processes, WEIGHTS, 6, {"run.json": ["metrics"]}),
    Job(
        "train --method twin+elr+ema",
        program(TRAIN.replace("train ", "train --method twin+elr+ema ", 1)),
        WEIGHTS, 6, {"run.json": ["metrics"]},
    ),
    Job("compare", program(GRID), ("run/*/model.safetensors", "run/table.md", "run/table.tex"), 6),
    Job(
        "audit --folds 2",
        lambda folder: [*PROGRAM, "audit", str(folder / "run"), "--folds", "2"],
        ("run/audit/*.parquet", "run/audit/summary.json", "run/audit/report.html"), 4, {}, finished_run,
    ),
    Job("tune", program(TUNE), ("run/best.yaml",), 4),
    Job(
        "noise",
        lambda folder: [*PROGRAM, *["noise", "digits", "--noise", "symmetric:0.4", "--out"], str(folder / "run")],
        ("run/**/*",), 4,
    ),
    Job("finetune", finetune, WEIGHTS, 4, {"run.json": ["metrics", "finetune"]}, pictures),
]  # fmt: skip


def result(job: Job, folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a job's result, by its path."""
    found = {}
    for pattern in job.results:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                content = path.read_bytes()
                if path.name in job.parts:
                    whole = json.loads(content)
                    content = json.dumps({part: whole[part] for part in job.parts[path.name]}).encode()
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


class Command:
    """A job's command in a folder of its own, started, killed and started again."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        job.prepare(folder)
        self.output = folder.with_suffix(".txt")

    def start(self) -> None:
        """In a process group of its own, with its output in a file beside the folder."""
        self.began = time.time()
        with self.output.open("ab") as output:
            self.process = psutil.Popen(
                self.job.words(self.folder), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def finish(self) -> float:
        """Wait for its end; the seconds it took. An exit code other than 0 ends the test."""
        code = self.process.wait(LONGEST_SECONDS)
        if code != 0:
            raise SystemExit(f"{self.job.name} ended with code {code}:\n{self.output.read_text()[-3000:]}")
        return time.time() - self.began

    def has_written(self) -> bool:
        """Whether anything in its folder is newer than its start."""
        try:
            return any(path.stat().st_mtime > self.began for path in self.folder.rglob("*"))
        except OSError:  # removed meanwhile
            return True

    def kill(self, draw: random.Random, seconds: float, how: signal.Signals) -> str | None:
        """Kill it at a random moment, wait until all its processes are gone; says what was killed, None if it ended.

        Args:
            seconds: How long it takes from its start, or from its first file, to its end.
        """
        after_start = draw.random() < 0.5
        while after_start and self.process.poll() is None and not self.has_written():
            time.sleep(POLL_SECONDS)
        moment = time.time() + draw.uniform(0.0, seconds * (0.5 if after_start else 1.0))
        while time.time() < moment and self.process.poll() is None:
            time.sleep(POLL_SECONDS)
        try:
            others = self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            others = []
        if self.process.poll() is not None:
            return None
        one = draw.choice(others) if others and draw.random() < 0.5 else None
        if (
            one is None and how is not signal.SIGKILL
        ):  # as a terminal or a scheduler does: they are told by the first
            os.killpg(self.process.pid, how)
        for process in (
            [self.process, *others] if one is None and how is signal.SIGKILL else [one] if one else []
        ):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        _, alive = psutil.wait_procs([self.process, *others], timeout=LONGEST_SECONDS)
        if alive:
            raise SystemExit(f"{self.job.name}: {alive} still run long after {how.name}.")
        when = "after its first file" if after_start else "any moment"
        return f"{how.name} to {'all' if one is None else 'one process'}, {when}"


def signal_of(kills: int, draw: random.Random) -> signal.Signals:
    """Every fourth one is a polite one."""
    return draw.choice((signal.SIGTERM, signal.SIGINT)) if kills % 4 == 3 else signal.SIGKILL


def run_job(job: Job, kills: int, base: Path, draw: random.Random) -> tuple[int, list[str]]:
    """Kill a job's command `kills` times; how often it reached its end, and the files that differed then."""
    base = base / re.sub(r"\W+", "-", job.name)
    whole = Command(job, base / "whole")
    whole.start()
    seconds = whole.finish()
    expected = result(job, whole.folder)
    print(f"{job.name}: {seconds:.0f} s, {len(expected)} files compared", flush=True)
    made, ends, different = 0, 0, list[str]()
    while made < kills:
        command = Command(job, base / f"killed-{ends + 1}")
        is_over = False
        while not is_over:
            command.start()
            said = command.kill(draw, seconds, signal_of(made, draw)) if made < kills else None
            if said is None:
                command.finish()
                is_over = True
            else:
                made += 1
                print(f"  kill {made}: {said}", flush=True)
                # Killed between its result and its end: there is no more to do, which `noise` refuses.
                is_over = job.name == "noise" and (command.folder / "run").is_dir()
        ends += 1
        found = result(job, command.folder)
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        different += wrong
        print(f"  end {ends}: {'equal' if not wrong else 'DIFFERENT ' + ', '.join(wrong)}", flush=True)
    return ends, different


def shares(jobs: Sequence[Job], kills: int) -> list[int]:
    """The kills of each job, by its share, at least one for the first `kills` of them."""
    whole = sum(job.share for job in jobs)
    found = [kills * job.share // whole for job in jobs]
    for place in sorted(range(len(jobs)), key=lambda place: (found[place] > 0, place))[: kills - sum(found)]:
        found[place] += 1
    return found


def main(arguments: argparse.Namespace) -> int:
    # A program that a shell starts in the background inherits that SIGINT is ignored, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    jobs = [job for job in JOBS if job.name.startswith(arguments.only)]
    if not jobs:
        raise SystemExit(f"--only names none of: {', '.join(job.name for job in JOBS)}.")
    base = Path(arguments.output_dir or tempfile.mkdtemp(prefix="kill-test-"))
    rows, wrong = [], 0
    for job, kills in zip(jobs, shares(jobs, arguments.kills), strict=True):
        if kills:
            ends, different = run_job(job, kills, base, random.Random(f"{arguments.seed} {job.name}"))
            wrong += len(different)
            said = f"{ends} of {ends}" if not different else f"no: {', '.join(sorted(set(different)))}"
            rows.append(f"| `{job.name}` | {kills} | {ends} | {said} |")
    print("\n| command | kills | times finished | byte-equal |\n|---|---|---|---|\n" + "\n".join(rows))
    if arguments.output_dir is None:
        shutil.rmtree(base)
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=12, help="how many kills in all (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments (default: 0)")
    parser.add_argument("--only", default="", metavar="NAME", help="only commands whose name begins so")
    parser.add_argument("--output_dir", help="folder for all that is made; default: a temporary one, removed")
    raise SystemExit(main(parser.parse_args()))
