"""Pictures of a run where its metrics are already reported: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import Trainer
from transformers.integrations import TensorBoardCallback, WandbCallback


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


def _to_tensorboard(folder: Path, files: list[Path], step: int) -> None:
    from torch.utils.tensorboard import SummaryWriter

    # The trainer closed its own writer when training ended; a second one adds a file to the same run.
    with SummaryWriter(log_dir=str(folder)) as writer:
        for path in files:
            with Image.open(path, formats=("PNG",)) as picture:
                writer.add_image(
                    f"plots/{path.stem}", np.asarray(picture.convert("RGB")), step, dataformats="HWC"
                )


def _to_wandb(files: list[Path]) -> bool:
    if importlib.util.find_spec("wandb") is None:
        return False
    wandb = importlib.import_module("wandb")
    if wandb.run is None:
        return False
    wandb.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in files})
    return True
