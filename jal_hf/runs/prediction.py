"""A run's model as a classifier of images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers import pipeline

from jal_hf.data.images.decoding import open_image
from jal_hf.data.progress import progress_line
from jal_hf.ground.image_files import as_mode
from jal_hf.ground.sentences import shortened
from jal_hf.hub.metadata import TASK_CLASSES
from jal_hf.models.sources import check_saved_model

Prediction = dict[str, Any]


def predict_images(
    run: str | os.PathLike[str], images: Sequence[Any], *, batch_size: int = 32
) -> list[Prediction]:
    """The class of each image, `label`, and how sure the model is of it, `score` in [0, 1], in order.

    Args:
        run: Folder of a finished run.
        images: PIL images, paths of files, or arrays (H, W) or (H, W, 3) of uint8.
        batch_size: Images at a time.

    Raises:
        FileNotFoundError: The folder holds no model, or there is no such image file.
        ValueError: The model cannot be loaded, or an image cannot be decoded; it is named.
    """
    check_classifier(run)
    for item in images:
        if isinstance(item, str | os.PathLike):
            _existing(item)
    classify = load_classifier(run, batch_size=batch_size)
    found: list[Prediction] = []
    with progress_line(len(images), "classifying", "image") as line:
        for answers in classify(images):
            found.append(answers[0])
            line.update()
    return found


def load_classifier(
    run: str | os.PathLike[str], *, most: int = 1, batch_size: int = 32
) -> Callable[[Iterable[Any]], Iterator[list[Prediction]]]:
    """The run's model, loaded once: images in, for each the `most` likeliest classes out, the likeliest first.

    Args and errors are those of `predict_images`, which asks for one class.
    """
    folder = check_classifier(run)
    try:
        classify = pipeline(
            "image-classification", model=str(folder), batch_size=batch_size, trust_remote_code=False
        )
    except (
        ValueError, TypeError, RuntimeError, LookupError, AttributeError, OSError, SafetensorError, StrictDataclassError
    ) as error:  # fmt: skip
        # A config from anywhere, or weights of another network, end in each of these, some with pages of tracebacks.
        reason = shortened(str(error).strip().partition("\n")[0], 200)
        raise ValueError(f"The model in {folder} cannot be loaded: {reason}") from error
    classes = len(classify.model.config.id2label)
    return lambda images: iter(classify((_picture(item) for item in images), top_k=min(most, classes)))


def check_classifier(run: str | os.PathLike[str]) -> Path:
    """The folder of a saved model of images, by its config alone.

    Raises:
        FileNotFoundError: It holds no model.
        ValueError: Its config cannot be used, or says that it classifies something else.
    """
    folder = Path(run)
    config = check_saved_model(folder, str(folder))
    kinds = config.get("architectures")
    own = str(kinds[0]) if isinstance(kinds, list) and kinds else ""
    for task, kind in TASK_CLASSES.items():
        if task != "image-classification" and own.endswith(kind.removeprefix("AutoModel")):
            raise ValueError(
                f"The model in {folder} is for {task}, and images and whole texts alone are classified here. Use "
                f"transformers.pipeline({task!r}, {str(folder)!r})."
            )
    return folder


def _picture(item: Any) -> Image.Image:
    if isinstance(item, Image.Image):
        return as_mode(item, "RGB")
    if isinstance(item, np.ndarray):
        return as_mode(Image.fromarray(item), "RGB")
    path = _existing(item)
    return open_image({"bytes": None, "path": str(path)}, 3, str(path))


def _existing(file: str | os.PathLike[str]) -> Path:
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"There is no image file {str(path)!r}.")
    return path
