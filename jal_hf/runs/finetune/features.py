"""Features of the frozen backbone, computed once and kept on disk in chunks, so that a kill costs one chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from jal_hf.data.progress import progress_line
from jal_hf.ground.files import read_object, write_json
from jal_hf.models import extract_features
from jal_hf.models.channels import channels_last, with_channels_last

CHUNK, BATCH = 2048, 64

HalfArray = npt.NDArray[np.float16]


def cached_features(
    model: nn.Module, images: Any, folder: Path, key: str, *, quiet: bool = False
) -> HalfArray:
    """Features (N, d) of all images, memory-mapped; what a former call with the same key computed is taken up.

    The model goes to the accelerator where there is one, in the layout in which convolutions are fastest.

    Args:
        images: torch dataset that gives whole batches.
        folder: gets `features.bin` and `features.json`.
        key: digest of all that decides the features.
    """
    rows, table, notes = len(images), folder / "features.bin", folder / "features.json"
    done, width = 0, None
    if notes.is_file() and table.is_file():
        known = read_object(notes)
        if known.get("key") == key and known.get("rows") == rows:
            done, width = int(known["done"]), int(known["width"])
    folder.mkdir(parents=True, exist_ok=True)
    if done == rows and width is not None:
        return np.memmap(table, dtype=np.float16, mode="r", shape=(rows, width))
    with_channels_last(model)
    if torch.cuda.is_available():
        model.to("cuda")
    with (
        table.open("r+b" if done else "wb") as file,
        progress_line(rows, "features", "image", initial=done, disable=quiet) as bar,
    ):
        if width is not None:
            file.truncate(done * width * np.dtype(np.float16).itemsize)
            file.seek(0, 2)
        while done < rows:
            chosen = range(done, min(done + CHUNK, rows))
            part = extract_features(model, _batches(images, chosen, bar)).numpy().astype(np.float16)
            part.tofile(file)
            file.flush()
            done, width = chosen.stop, part.shape[1]
            write_json(notes, {"key": key, "rows": rows, "done": done, "width": width})
    return np.memmap(table, dtype=np.float16, mode="r", shape=(rows, int(width or 0)))


def _batches(images: Any, chosen: range, bar: Any) -> Any:
    for start in range(chosen.start, chosen.stop, BATCH):
        batch = list(range(start, min(start + BATCH, chosen.stop)))
        yield {"pixel_values": channels_last(images.__getitems__(batch)["pixel_values"])}
        bar.update(len(batch))
