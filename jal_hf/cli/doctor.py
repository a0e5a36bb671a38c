"""`jal-hf doctor`: what this machine has, and what follows from it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil

from jal_hf.ground.files import JsonObject

NAME = "doctor"
HELP = "what this machine has, and what follows from it for a run"
EXTRAS = {
    "cleanlab": ("audit", "confident learning beside the audit's own estimate"),
    "optuna": ("tune", "jal-hf tune"),
    "peft": ("lora", "fine-tuning with LoRA"),
    "onnx": ("onnx", "export to ONNX"),
    "gradio": ("demo", "jal-hf demo"),
    "tensorboard": ("dev", "--report_to tensorboard"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="Print JSON instead of text.")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found."""
    found = examine()
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    width = max(map(len, found))
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        print(f"  {name:<{width}}  {value}")
    return 0


def examine() -> JsonObject:
    """Facts about this machine and installation, ready for JSON; a token is never among them."""
    import torch
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE

    from jal_hf.data import cache_folder
    from jal_hf.ground.record import installed_versions
    from jal_hf.runs.resolution import available_cores
    from jal_hf.training.hardware import detect_hardware

    hardware = detect_hardware()
    absent = {
        name: f"{use}: pip install 'jal_hf[{extra}]'"
        for name, (extra, use) in EXTRAS.items()
        if importlib.util.find_spec(name) is None
    }
    found: JsonObject = {
        "device": hardware.device if hardware.device != "cpu" else f"cpu, {available_cores()} cores",
        "precision": f"{hardware.precision}, for {hardware.reason}",
        "convolutions": "channels_last" if hardware.channels_last else "contiguous",
        "threads": f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')})",
        "loss kernels": "Triton"
        if torch.cuda.is_available() and importlib.util.find_spec("triton")
        else "torch",
        "torch.compile": "C compiler found" if shutil.which("cc") or shutil.which("gcc") else "no C compiler",
        "Hub": ("offline, " if HF_HUB_OFFLINE else "")
        + ("logged in" if get_token() else "no token; hf auth login"),
        "cache": str(cache_folder()),
        "free disk": f"{shutil.disk_usage(os.getcwd()).free / 2**30:.0f} GiB here",
        "versions": installed_versions(),
    }
    return {**found, **{f"without {name}": text for name, text in absent.items()}}
