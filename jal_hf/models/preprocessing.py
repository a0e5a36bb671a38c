"""What happens to an image before it enters the network, as the run did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from jal_hf.ground.files import JsonObject

Statistic = float | Sequence[float]


@dataclass(frozen=True)
class Preprocessing:
    """Size, crop and normalisation of the evaluation images, in timm's terms.

    `mean` and `std` belong to pixels in [0, 1], one number a channel; `input_size` is (C, H, W) in pixels;
    `crop_pct` is the share of the resized image that the centre crop keeps.
    """

    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    crop_pct: float = 1.0

    def to_dict(self) -> JsonObject:
        """The entries of timm's `pretrained_cfg`."""
        return {
            "input_size": self.input_size,
            "mean": self.mean,
            "std": self.std,
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
        }


def describe_evaluation(model: nn.Module, crop_pct: float) -> None:
    """Say in a model's own config how a run evaluates its images, so that `pipeline` and timm prepare them likewise.

    A run scales bilinearly and cuts the middle, whatever the source of the weights did.

    Args:
        crop_pct: share of the scaled image's side that is shown.
    """
    how = {
        "interpolation": "bilinear",
        "crop_pct": crop_pct,
        "crop_mode": "center",
        "crop_border_pixels": None,
    }
    parts: tuple[Any, ...] = (getattr(model, "config", None), getattr(model, "timm_model", None))
    for part in parts:
        if isinstance(cfg := getattr(part, "pretrained_cfg", None), dict):
            part.pretrained_cfg = {**cfg, **how}


_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
# Below this size a run shows the whole image; the 87.5 % centre crop belongs to ImageNet's photographs.
_SMALL_IMAGE = 96


def resolve_preprocessing(
    defaults: Mapping[str, Any],
    *,
    image_size: int | None,
    in_chans: int,
    mean: Statistic | None,
    std: Statistic | None,
    interpolation: str | None,
    crop_pct: float | None,
) -> Preprocessing:
    """The run's own values where given, the network's `pretrained_cfg` elsewhere.

    Raises:
        ValueError: for a size, mean, std, interpolation or crop that cannot be.
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size is {image_size}; it is a number of pixels and must be at least 1.")
    height, width = (image_size, image_size) if image_size else tuple(defaults["input_size"])[-2:]
    if interpolation is not None and interpolation not in _INTERPOLATIONS:
        raise ValueError(f"interpolation is {interpolation!r}; choose one of {', '.join(_INTERPOLATIONS)}.")
    if crop_pct is not None and not 0 < crop_pct <= 1:
        raise ValueError(f"crop_pct is {crop_pct}; it is a share of the image and must lie in (0, 1].")
    if crop_pct is None:
        crop_pct = 1.0 if image_size and image_size < _SMALL_IMAGE else float(defaults.get("crop_pct", 0.875))
    stds = per_channel("std", std if std is not None else _fitting(defaults["std"], in_chans), in_chans)
    if min(stds) <= 0:
        raise ValueError(f"std is {stds}; every entry must be positive.")
    return Preprocessing(
        input_size=(in_chans, height, width),
        mean=per_channel(
            "mean", mean if mean is not None else _fitting(defaults["mean"], in_chans), in_chans
        ),
        std=stds,
        interpolation=interpolation or str(defaults.get("interpolation", "bilinear")),
        crop_pct=crop_pct,
    )


def per_channel(name: str, value: Statistic, in_chans: int) -> tuple[float, ...]:
    """One number for each of `in_chans` channels; a single number serves all.

    Raises:
        ValueError: when the count of numbers is neither 1 nor `in_chans`.
    """
    numbers = (float(value),) if isinstance(value, int | float) else tuple(float(number) for number in value)
    if len(numbers) == 1:
        return numbers * in_chans
    if len(numbers) != in_chans:
        raise ValueError(
            f"{name} holds {len(numbers)} numbers {numbers} for images of {in_chans} channels; give one "
            f"or {in_chans}."
        )
    return numbers


def _fitting(statistic: Sequence[float], in_chans: int) -> Sequence[float]:
    """The network's own statistic, averaged over colours when the run's images have another channel count."""
    return statistic if len(statistic) == in_chans else (sum(statistic) / len(statistic),)
