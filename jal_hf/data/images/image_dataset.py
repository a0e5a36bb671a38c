"""From a split of a Hugging Face dataset to a torch dataset of ready batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import datasets
import torch
from torch import Tensor

from jal_hf.data.column_values import integer_column, row_numbers
from jal_hf.data.images.augmentation import BatchTransform, check_augment
from jal_hf.data.images.batch_datasets import ArrayImages, DecodedImages, LabelledImages
from jal_hf.data.images.crops import ImageCrop
from jal_hf.data.images.decoded_arrays import decoded_array
from jal_hf.data.images.stream_dataset import StreamedImages
from jal_hf.data.row_weights import read_weights

SMALL_SIDE = 64
"""Images up to this side are decoded once into memory-mapped uint8; larger ones as they are used."""


def make_image_dataset(
    split: datasets.Dataset | datasets.IterableDataset,
    *,
    image_column: str,
    label_column: str | None,
    image_size: int,
    in_chans: int = 3,
    mean: Sequence[float],
    std: Sequence[float],
    augment: str = "none",
    train: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    channels_last: bool = False,
    cache: Path | None = None,
    shuffle_buffer: int = 1000,
    on_bad_image: str = "error",
) -> LabelledImages | StreamedImages:
    """Torch dataset of ready batches: `pixel_values`, `labels`, `index`, `clean_label` and `sample_weight` where known.

    Every random choice is keyed by (seed, epoch, row number), so the same image comes out whatever the
    batch, the worker or the process, and a resumed run sees what the first one would have seen.

    Args:
        split: one split of `load_noisy_dataset`, or any dataset with an image and an integer label column.
        image_column: name of the images.
        label_column: name of the labels; None gives batches without `labels`, for prediction.
        image_size: side of the square images, pixels.
        in_chans: 1 (grey) or 3 (RGB); images are converted.
        mean: one number per channel, for pixels in [0, 1].
        std: one positive number per channel.
        augment: none, crop-flip, crop-flip-rotate, randomresizedcrop or resize-crop-flip; only used when
            `train`, except that the last two also fix the evaluation crop (scaled to 256/224, cut in the
            middle).
        train: whether images are augmented.
        seed: first key of the draws.
        device: small images are kept and augmented there when they fit.
        channels_last: memory layout of `pixel_values`.
        cache: folder of the decode-once cache; see `cache_folder`.
        shuffle_buffer: rows of a training stream among which the next one is drawn; 1 keeps the order.
        on_bad_image: for streams, `skip` leaves unreadable images out and counts them, up to 5 %.

    Raises:
        ValueError: unknown augmentation, wrong number of means, impossible size, wrong weights, or an unreadable image
            (its row named).
    """
    check_augment(augment)
    _check_shape(image_size, in_chans, mean, std)
    transform = BatchTransform(augment, tuple(mean), tuple(std), train, seed, channels_last)
    if isinstance(split, datasets.IterableDataset):
        return StreamedImages(
            split,
            image_column,
            label_column,
            ImageCrop(augment, image_size, in_chans, train, seed),
            transform,
            shuffle_buffer=shuffle_buffer if train else 1,
            on_bad_image=on_bad_image,
        )
    rows = row_numbers(split)
    columns = {"labels": label_column, "index": "index", "clean_label": "clean_label"}
    tensors: dict[str, Tensor] = {
        name: torch.from_numpy(integer_column(split, column).copy())
        for name, column in columns.items()
        if column is not None and column in split.column_names
    }
    weights = read_weights(split, str(split.split or "given"))
    if weights is not None:
        tensors["sample_weight"] = torch.from_numpy(weights)
    tensors.setdefault("index", torch.from_numpy(rows.copy()))
    if image_size > SMALL_SIDE or augment in ("randomresizedcrop", "resize-crop-flip"):
        crop = ImageCrop(augment, image_size, in_chans, train, seed)
        return DecodedImages(split, image_column, tensors, rows, crop, transform)
    array = decoded_array(split, image_column, image_size, in_chans, cache)
    place = torch.device(device)
    if not _fits(place, array.nbytes):
        place = torch.device("cpu")
    return ArrayImages(array, tensors, rows, transform, place)


def _check_shape(image_size: int, in_chans: int, mean: Sequence[float], std: Sequence[float]) -> None:
    if in_chans not in (1, 3):
        raise ValueError(f"Images have 1 (grey) or 3 (RGB) channels, not {in_chans}.")
    if image_size < 1:
        raise ValueError(f"The image size must be at least 1 pixel, not {image_size}.")
    if len(mean) != in_chans or len(std) != in_chans:
        raise ValueError(
            f"Images with {in_chans} channel(s) need {in_chans} mean and std value(s), not {len(mean)} and "
            f"{len(std)}."
        )
    if not all(math.isfinite(value) for value in mean) or not all(0 < value < math.inf for value in std):
        raise ValueError(
            f"Means must be finite and standard deviations positive, not {list(mean)} and {list(std)}."
        )


def _fits(device: torch.device, size: int) -> bool:
    """Whether `size` bytes take at most a quarter of the free memory of `device`."""
    if device.type != "cuda":
        return device.type == "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return size <= free // 4
