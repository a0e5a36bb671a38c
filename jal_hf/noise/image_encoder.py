"""One image as a row of features: decoded and normalised, never augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from jal_hf.ground.image_files import DECODE_ERRORS, as_mode, is_grey, open_encoded, unreadable, upright
from jal_hf.noise.class_maps import infer_class_map

# Channel means and deviations of the training images, as in the papers' protocols.
_PUBLISHED = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


@dataclass(frozen=True)
class ImageSettings:
    """How images become features; what is None is taken from the dataset.

    Attributes:
        image_column: The column of images; None takes the only one.
        mean: Channel means of pixels in [0, 1].
        std: Channel deviations.
        image_size: Side in pixels to which images are resized; None asks that all have one size.
        num_proc: How many images are decoded at once.
    """

    image_column: str | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    image_size: int | None = None
    num_proc: int | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and not _is_vector(values):
                raise TypeError(f"{name} is {values!r}; give a list of one number for each channel.")


@dataclass(frozen=True)
class ImageEncoder:
    """Turns encoded images into rows of features: channels first, flattened, normalised."""

    mode: str
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Any, row: object) -> NDArray[np.float64]:
        """Decode one image; `row` names it in an error."""
        with open_image(image, row) as opened:
            try:
                converted = as_mode(upright(opened), self.mode)
            except DECODE_ERRORS as error:
                raise unreadable(None, row, error) from error
        if converted.size != self.size:
            converted = converted.resize(self.size, PILImage.Resampling.BILINEAR)
        pixels = np.asarray(converted, dtype=np.float64).reshape(*self.size[::-1], -1) / 255.0
        normalised: NDArray[np.float64] = (pixels - self.mean) / self.std
        return normalised.transpose(2, 0, 1).reshape(-1)


def open_image(image: Any, row: object) -> PILImage.Image:
    """Open an encoded image ({'bytes', 'path'}) or return a decoded one."""
    return image if isinstance(image, PILImage.Image) else open_encoded(image, row)


def make_encoder(
    shapes: set[tuple[str, tuple[int, int]]], settings: ImageSettings, class_names: Sequence[str] | None
) -> ImageEncoder:
    """Settle colour, size and normalisation from the (mode, size) pairs that occur.

    Raises:
        ValueError: Sizes differ and no image_size is given, or mean and std do not fit the channels.
    """
    grey = all(is_grey(mode) for mode, _ in shapes)
    if settings.mean is not None:
        grey = len(settings.mean) == 1
    sizes = sorted({size for _, size in shapes})
    if settings.image_size is not None:
        size = (settings.image_size, settings.image_size)
    elif len(sizes) == 1:
        size = sizes[0]
    else:
        shown = ", ".join(f"{width}x{height}" for width, height in sizes[:3])
        raise ValueError(f"The images have {len(sizes)} sizes ({shown}, ...); give image_size, one for all.")
    channels = 1 if grey else 3
    mean, std = published_normalisation(class_names, channels)
    mean = tuple(settings.mean) if settings.mean is not None else mean
    std = tuple(settings.std) if settings.std is not None else std
    if len(mean) not in (1, 3) or len(std) not in (1, len(mean)) or min(std) <= 0:
        raise ValueError(
            f"mean {mean} and std {std} must have one positive number for each channel (1 or 3)."
        )
    return ImageEncoder("L" if grey else "RGB", size, mean, std)


def _is_vector(values: Any) -> bool:
    """Whether the values are numbers in a row."""
    try:
        return np.asarray(values, dtype=np.float64).ndim == 1
    except (TypeError, ValueError):
        return False


def published_normalisation(
    class_names: Sequence[str] | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and deviations of the dataset the class names belong to; 0.5 for an unknown one."""
    name = infer_class_map(len(class_names or ()), class_names)
    mean, std = _PUBLISHED.get((name or "").partition("-")[0], ((0.5,) * channels, (0.5,) * channels))
    return (mean, std) if len(mean) == channels else ((0.5,) * channels, (0.5,) * channels)
