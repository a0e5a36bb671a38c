"""`jal-hf doctor`: what this machine has, and what follows from it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.text import facts_text, filled

HELP = "what this machine has, and what follows from it for a run"
EXTRAS = {
    "cleanlab": ("audit", "confident learning beside the audit's own estimate"),
    "optuna": ("tune", "jal-hf tune"),
    "peft": ("lora", "fine-tuning with LoRA"),
    "onnx": ("onnx", "export to ONNX"),
    "gradio": ("demo", "jal-hf demo"),
    "tensorboard": ("dev", "--report_to tensorboard"),
}
LITTLE_SPACE = 5.0
"""GiB below which a run with checkpoints may not end well."""


class Finding(NamedTuple):
    """One thing looked at: what was found, and what follows where something does."""

    name: str
    found: str
    follows: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json and --quiet."""
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found."""
    from jal_hf.ground.record import installed_versions

    found, versions = list(findings()), installed_versions()
    advice = [f"{each.name}: {each.follows}" for each in found if each.follows]
    facts = {
        "findings": {each.name: {"found": each.found, "follows": each.follows} for each in found},
        "versions": versions,
    }
    rows = [(each.name, each.found) for each in found]
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    follows = "\n".join(filled(line, "  ", "    ") for line in advice)
    text = facts_text(rows) + (f"\n\nWhat follows:\n{follows}" if advice else "")
    Output(arguments).result(facts, text, brief="\n".join(map(filled, advice)))
    return 0


def findings() -> Iterator[Finding]:
    """What a run depends on, each with what follows from it; a token is never among them."""
    yield Finding("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")
    yield from _device()
    yield from _compilers()
    yield from _memory()
    yield _hub()
    yield from _disk()
    for name, (extra, use) in EXTRAS.items():
        if find_spec(name) is None:
            yield Finding(name, "not installed", f"{use} needs it: pip install 'jal_hf[{extra}]'")


def _device() -> Iterator[Finding]:
    import torch

    from jal_hf.runs.resolution import available_cores
    from jal_hf.training.hardware import detect_hardware

    hardware = detect_hardware()
    cores = available_cores()
    count = torch.cuda.device_count() if hardware.device != "cpu" else 0
    if count:
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Finding(
            "device",
            f"{count} x {hardware.device}, {memory:.0f} GiB each"
            if count > 1
            else f"{hardware.device}, {memory:.0f} GiB",
            f"use all of them: accelerate launch --num_processes {count} -m jal_hf train ..."
            if count > 1
            else "",
        )
    else:
        follows = "training runs on the CPU: try a setting with --max_train_samples before the whole data"
        if torch.version.cuda is not None:
            follows += "; this torch is built for CUDA and sees no GPU, so look at nvidia-smi if there is one"
        yield Finding("device", f"no GPU, {cores} CPU cores", follows)
    slow = "float32 takes twice the memory and time of bfloat16 on a GPU that has it" if count else ""
    yield Finding(
        "precision",
        f"{hardware.precision}: {hardware.reason}",
        "" if hardware.precision == "bf16" else slow,
    )
    yield Finding("convolutions", "channels_last" if hardware.channels_last else "contiguous")
    yield _threads(torch.get_num_threads(), cores, trains_here=not count)


def _threads(used: int, cores: int, *, trains_here: bool) -> Finding:
    asked = os.environ.get("OMP_NUM_THREADS")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    follows = ""
    if trains_here and used > 1 and load >= cores:
        follows = (
            f"other programs use the cores (load {load:.1f}), and threads wait for each other: OMP_NUM_THREADS=1 can "
            "be several times faster meanwhile"
        )
    elif trains_here and used < cores and load < cores:
        follows = f"unset OMP_NUM_THREADS to use all {cores} cores"
    return Finding("threads", f"{used} (OMP_NUM_THREADS {asked or 'not set'})", follows)


def _compilers() -> Iterator[Finding]:
    import torch

    has_triton, has_gpu = find_spec("triton") is not None, torch.cuda.is_available()
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if has_gpu:
        lacking = (
            "" if has_triton else "losses run as separate torch operators: pip install triton for one kernel"
        )
        yield Finding("Triton", "installed" if has_triton else "not installed", lacking)
    else:
        yield Finding("Triton", "not used without a GPU: losses take their closed forms in torch")
    lacking = "--torch_compile and Triton need one: install gcc, for instance `apt install gcc`"
    yield Finding("C compiler", compiler or "none", "" if compiler else lacking)


def _memory() -> Iterator[Finding]:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        yield Finding("memory", f"{memory:.0f} GiB")


def _hub() -> Finding:
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE

    login = "a token is stored" if get_token() else "no token"
    if HF_HUB_OFFLINE:
        return Finding(
            "Hub", f"offline, {login}", "only what is in the cache can be loaded: unset HF_HUB_OFFLINE"
        )
    return Finding("Hub", login, "" if get_token() else "pushing needs one: hf auth login")


def _disk() -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from jal_hf.data import cache_folder

    for name, folder in (
        ("here", Path.cwd()),
        ("jal_hf cache", cache_folder()),
        ("Hub cache", Path(HF_HUB_CACHE)),
    ):
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free / 2**30
        little = f"less than {LITTLE_SPACE:g} GiB is free; checkpoints, decoded images and downloads go there"
        yield Finding(
            f"disk, {name}", f"{free:.0f} GiB free in {folder}", little if free < LITTLE_SPACE else ""
        )
