"""Kill a training run with SIGKILL at random moments, resume it each time, and compare the final weights.

    python examples/kill_test.py                                             # 5 kills of the digits recipe
    python examples/kill_test.py --kills 25                                  # the full test
    python examples/kill_test.py --kills 25 --recipe mnist --dataset ylecun/mnist -- --max_train_samples 2000

Augmentation is on and checkpoints are written within epochs. A run is first trained without interruption; then the
same run is trained in another folder and killed: half of the kills come at a random time, half while a checkpoint is
being written. Whenever a run reaches its end the sha256 of its `model.safetensors` is compared with that of the
uninterrupted one, and another run starts until all kills were made. Words after `--` are flags of `jal-hf train`.

Each run is a fork of this program, which has imported everything and trained nothing: the same as a new process,
without the seconds that the imports take. The exit code is 0 when all weights agree.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import jal_hf.runs.run as training
from jal_hf.cli.flags import config_of_words
from jal_hf.training.checkpoints import checkpoint_folders, is_complete, last_complete_checkpoint

POLL_SECONDS = 0.0005


def start(words: Sequence[str], folder: Path) -> int:
    """Train in a child process; its output goes to a file beside the run."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with folder.with_suffix(".txt").open("a") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            training.run_training(config_of_words([*words, "--output_dir", str(folder), "--resume", "auto"]))
            code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int | None:
    """Exit code of a child that has ended by itself, or None."""
    done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def kill_at_random(
    child: int, folder: Path, seconds: float, draw: random.Random, *, in_save: bool
) -> int | None:
    """Kill a child after a random time, or in the first save after it; its exit code if it was faster."""
    began = time.time()
    moment = began + draw.uniform(0.0, seconds)
    while time.time() < moment or (in_save and not saving(folder, began)):
        code = ended(child)
        if code is not None:
            return code
        time.sleep(POLL_SECONDS)
    time.sleep(draw.uniform(0.0, 0.01) if in_save else 0.0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def saving(folder: Path, since: float = 0.0) -> bool:
    """Whether a checkpoint stands there that is not whole and was written to after a time, in seconds of the epoch."""
    try:
        return any(
            not is_complete(checkpoint) and checkpoint.stat().st_mtime > since
            for checkpoint in checkpoint_folders(folder)
        )
    except FileNotFoundError:  # the run removed it meanwhile
        return False


def finish(child: int, folder: Path) -> str:
    """Wait for a run's end; the sha256 of its weights."""
    _, status = os.waitpid(child, 0)
    return digest(os.waitstatus_to_exitcode(status), folder)


def digest(code: int, folder: Path) -> str:
    if code != 0:
        raise SystemExit(f"A run ended with code {code}:\n{folder.with_suffix('.txt').read_text()[-3000:]}")
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def main(arguments: argparse.Namespace, flags: Sequence[str]) -> int:
    draw = random.Random(arguments.seed)
    base = Path(arguments.output_dir or tempfile.mkdtemp(prefix="kill-test-"))
    base.mkdir(parents=True, exist_ok=True)
    words = [arguments.recipe, *(["--dataset", arguments.dataset] if arguments.dataset else [])]
    words += ["--augment", "crop-flip", "--save_strategy", "steps", "--save_steps", str(arguments.save_steps)]
    words += ["--save_total_limit", "2", "--num_train_epochs", str(arguments.epochs), *flags]
    began = time.monotonic()
    expected = finish(start(words, base / "whole"), base / "whole")
    seconds = time.monotonic() - began
    print(f"{' '.join(words)}\nuninterrupted: {seconds:.1f} s, sha256 {expected}")
    print(f"{'kill':>4}  {'run':>3}  {'moment':<12}  {'whole checkpoint':<16}  a cut-off one")
    kills = runs = wrong = 0
    while kills < arguments.kills:
        runs += 1
        folder = base / f"killed-{runs}"
        while True:
            began, fresh = time.monotonic(), last_complete_checkpoint(folder) is None
            child = start(words, folder)
            in_save = kills % 2 == 1
            code = None
            if kills < arguments.kills:
                code = kill_at_random(child, folder, seconds, draw, in_save=in_save)
                if code is None:
                    kills += 1
                    last = last_complete_checkpoint(folder)
                    name = "none" if last is None else last.name
                    moment = "in a save" if in_save else "random time"
                    torn = "yes" if saving(folder) else "-"
                    print(f"{kills:>4}  {runs:>3}  {moment:<12}  {name:<16}  {torn}", flush=True)
                    continue
            found = finish(child, folder) if code is None else digest(code, folder)
            wrong += found != expected
            # The first run also decodes the images; moments after a run's end would kill nothing.
            seconds = min(seconds, time.monotonic() - began) if fresh else seconds
            verdict = "equal" if found == expected else f"DIFFERENT {found}"
            print(f"      {runs:>3}  finished      sha256 {verdict}", flush=True)
            break
    print(
        f"{kills} kills, {runs} runs finished, {runs - wrong} of {runs} with the weights of the uninterrupted run"
    )
    if arguments.output_dir is None:
        shutil.rmtree(base)
    return 1 if wrong else 0


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    place = words.index("--") if "--" in words else len(words)
    own, flags = list(words[:place]), list(words[place + 1 :])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="digits", help="recipe of jal-hf train (default: digits)")
    parser.add_argument("--dataset", help="dataset, where the recipe's own is not to be used")
    parser.add_argument("--kills", type=int, default=5, help="how many kills (default: 5)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of a run (default: 4)")
    parser.add_argument("--save_steps", type=int, default=7, help="steps between checkpoints (default: 7)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument(
        "--output_dir", help="folder for the runs; default: a temporary one, removed at the end"
    )
    return parser.parse_args(own), flags


if __name__ == "__main__":
    raise SystemExit(main(*parse(sys.argv[1:])))
