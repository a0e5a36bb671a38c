"""Features of instance-dependent noise: the images of a dataset or of a stream's batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from datasets import Dataset, Image
from numpy.typing import NDArray

from jal_hf.ground.image_files import is_grey, upright_size
from jal_hf.noise.image_encoder import ImageEncoder, ImageSettings, make_encoder, open_image

_BLOCK = 1024  # encoded images held at once


def image_column_of(features: Any, column: str | None) -> str:
    """The image column. Raises ValueError when it is absent, no column of images, or not the only one."""
    images = [name for name, feature in (features or {}).items() if isinstance(feature, Image)]
    if column is not None:
        if column not in images:
            raise ValueError(
                f"The column {column!r} holds no images; columns of images: {', '.join(images) or 'none'}."
            )
        return column
    if len(images) != 1:
        raise ValueError(
            "This noise looks at the images, and the dataset has "
            + (
                f"several columns of them: {', '.join(images)}; give image_column."
                if images
                else "no column of them."
            )
        )
    return str(images[0])


def dataset_features(
    dataset: Dataset, settings: ImageSettings, class_names: Sequence[str] | None
) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
    """A function from row positions to features, (M,) -> (M, D); images are read only when asked for."""
    column = image_column_of(dataset.features, settings.image_column)
    images = dataset.with_format(None).select_columns([column]).cast_column(column, Image(decode=False))
    encoder: ImageEncoder | None = None

    def fetch(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        nonlocal encoder
        if encoder is None:
            encoder = make_encoder(_shapes(images, column), settings, class_names)
        encoded = images[rows.tolist()][column]
        if settings.num_proc is None or settings.num_proc < 2:
            return np.stack([encoder(image, row) for image, row in zip(encoded, rows.tolist(), strict=True)])
        with ThreadPoolExecutor(settings.num_proc) as pool:  # decoding leaves Python's lock
            return np.stack(list(pool.map(encoder, encoded, rows.tolist())))

    return fetch


def _shapes(images: Dataset, column: str) -> set[tuple[str, tuple[int, int]]]:
    """(mode, size) of every image, from the headers alone."""
    found = set()
    for row, image in enumerate(_encoded(images, column)):
        with open_image(image, row) as opened:
            found.add((opened.mode, upright_size(opened)))
    return found


def _encoded(images: Dataset, column: str) -> Iterator[Any]:
    for batch in images.iter(batch_size=_BLOCK):
        yield from batch[column]


class StreamImages:
    """Features of a stream's images, in the colour and size of the first one."""

    def __init__(self, column: str, settings: ImageSettings, class_names: Sequence[str] | None) -> None:
        self.column, self.settings, self.class_names = column, settings, class_names
        self.encoder: ImageEncoder | None = None

    def of(self, batch: Mapping[str, Any]) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
        """A function from positions in the batch to features."""
        images = batch[self.column]

        def fetch(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            return np.stack([self._encode(images[row], f"{row} of the batch") for row in rows.tolist()])

        return fetch

    def _encode(self, image: Any, row: str) -> NDArray[np.float64]:
        opened = open_image(image, row)
        size = upright_size(opened)
        if self.encoder is None:
            self.encoder = make_encoder({(opened.mode, size)}, self.settings, self.class_names)
        encoder = self.encoder
        if self.settings.image_size is None and size != encoder.size:
            raise ValueError(f"The stream has images of {encoder.size} and {size} pixels; give image_size.")
        if self.settings.mean is None and encoder.mode == "L" and not is_grey(opened.mode):
            raise ValueError(
                "The stream has grey and coloured images; give mean and std with three numbers each."
            )
        return encoder(opened, row)
