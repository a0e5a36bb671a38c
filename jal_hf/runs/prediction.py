"""A run's model as a classifier of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers import pipeline

from jal_hf.ground.image_files import picture
from jal_hf.ground.sentences import shortened
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
    folder = Path(run)
    check_saved_model(folder, str(folder))
    try:
        classify = pipeline(
            "image-classification", model=str(folder), top_k=1, batch_size=batch_size, trust_remote_code=False
        )
    except (
        ValueError, TypeError, RuntimeError, LookupError, AttributeError, OSError, SafetensorError, StrictDataclassError
    ) as error:  # fmt: skip
        # A config from anywhere, or weights of another network, end in each of these, some with pages of tracebacks.
        reason = shortened(str(error).strip().partition("\n")[0], 200)
        raise ValueError(f"The model in {folder} cannot be loaded: {reason}") from error
    return [answer[0] for answer in classify(_picture(item) for item in images)]


def _picture(item: Any) -> Image.Image:
    if isinstance(item, Image.Image):
        return item.convert("RGB")
    if isinstance(item, np.ndarray):
        return Image.fromarray(item).convert("RGB")
    path = Path(item)
    if not path.is_file():
        raise FileNotFoundError(f"There is no image file {str(path)!r}.")
    return picture({"bytes": None, "path": str(path)}, str(path)).convert("RGB")
