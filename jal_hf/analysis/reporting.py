"""Pictures of a run and of its audit where its metrics are reported: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import Trainer
from transformers.integrations import TensorBoardCallback, WandbCallback

from jal_hf.ground.sentences import shortened

SERVICES = ("tensorboard", "wandb")


def report_plots(trainer: Trainer, pictures: Iterable[Path]) -> list[str]:
    """Send PNG files to each service that the trainer's `report_to` named; returns the services.

    They stand there as `plots/NAME` at the run's last step. Nothing is done when nothing is reported.
    """
    files = [path for path in pictures if path.suffix == ".png"]
    step = int(trainer.state.global_step)
    reached: list[str] = []
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is not None:
            _to_tensorboard(Path(callback.logging_dir), files, step)
            reached.append("tensorboard")
        elif isinstance(callback, WandbCallback) and _to_wandb(files):
            reached.append("wandb")
    return reached


def check_services(services: Sequence[str]) -> None:
    """Nothing, where each can be reported to.

    ValueError for one that does not exist, ImportError with the install line for one that is not installed.
    """
    for name in services:
        if name not in SERVICES:
            raise ValueError(f"report_to must be one of {', '.join(SERVICES)}, got {shortened(name)!r}.")
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"report_to {name!r} needs {name}, which is not installed: pip install {name}.")


def report_audit(
    run: Path, pictures: Iterable[Path], services: Sequence[str], *, title: str, step: int
) -> list[str]:
    """Send the PNG files of an audit to services of `SERVICES`, as `audit/NAME`; returns the services.

    TensorBoard gets them beside the curves of the run in the folder `run`, where those were reported there. Weights &
    Biases gets them in the run that is open in this process, else in one of its own that is called as `title` says.

    Args:
        step: the last one of the run.
    """
    files = [path for path in pictures if path.suffix == ".png"]
    if "tensorboard" in services:
        known = sorted(run.rglob("events.out.tfevents*"), key=lambda path: path.stat().st_mtime)
        _to_tensorboard(known[-1].parent if known else run / "runs" / "audit", files, step, "audit")
    if "wandb" in services:
        wandb = importlib.import_module("wandb")
        if wandb.run is not None:
            _to_wandb(files, "audit")
        else:
            project = os.environ.get("WANDB_PROJECT", "huggingface")
            with wandb.init(project=project, name=f"audit of {title}", job_type="audit"):
                _to_wandb(files, "audit")
    return list(services)


def _to_tensorboard(folder: Path, files: list[Path], step: int, group: str = "plots") -> None:
    from torch.utils.tensorboard import SummaryWriter

    # The trainer closed its own writer when training ended; a second one adds a file to the same run.
    with SummaryWriter(log_dir=str(folder)) as writer:
        for path in files:
            with Image.open(path, formats=("PNG",)) as picture:
                pixels = np.asarray(picture.convert("RGB"))
                writer.add_image(f"{group}/{path.stem}", pixels, step, dataformats="HWC")


def _to_wandb(files: list[Path], group: str = "plots") -> bool:
    if importlib.util.find_spec("wandb") is None:
        return False
    wandb = importlib.import_module("wandb")
    if wandb.run is None:
        return False
    wandb.log({f"{group}/{path.stem}": wandb.Image(str(path)) for path in files})
    return True
