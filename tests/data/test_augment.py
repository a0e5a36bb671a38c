"""Augmentation: the maps of torchvision, one draw an image, whatever the batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from jal_hf.data.draws import keyed_uniforms
from jal_hf.data.images import colour
from jal_hf.data.images.augmentation import BatchTransform, check_augment
from jal_hf.data.images.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    colour_jitter,
)
from jal_hf.data.images.crops import resized_crop_box
from jal_hf.data.images.geometry import crop_flip_rotate

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def _images(count: int = 6, side: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


def test_draws_do_not_depend_on_the_batch_and_differ_by_epoch_and_seed() -> None:
    whole = keyed_uniforms(np.arange(100), seed=3, epoch=2, count=5)
    assert np.array_equal(whole[[7, 3]], keyed_uniforms(np.array([7, 3]), seed=3, epoch=2, count=5))
    assert np.array_equal(whole[:, :2], keyed_uniforms(np.arange(100), seed=3, epoch=2, count=2))
    assert not np.array_equal(whole, keyed_uniforms(np.arange(100), seed=3, epoch=3, count=5))
    assert not np.array_equal(whole, keyed_uniforms(np.arange(100), seed=4, epoch=2, count=5))


def test_draws_are_uniform_and_uncorrelated_between_columns_and_epochs() -> None:
    first = keyed_uniforms(np.arange(20_000), seed=0, epoch=0, count=4)
    second = keyed_uniforms(np.arange(20_000), seed=0, epoch=1, count=4)
    counts = np.histogram(first, bins=20, range=(0, 1))[0]
    assert np.all(np.abs(counts - 4000) < 5 * math.sqrt(4000))
    correlations = np.corrcoef(np.concatenate([first, second], axis=1).T) - np.eye(8)
    assert np.abs(correlations).max() < 5 / math.sqrt(20_000)


def test_crop_and_flip_equal_torchvision_given_the_same_draws() -> None:
    images = _images()
    draws = torch.rand(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = crop_flip_rotate(images, draws, pad=4)
    for row in range(6):
        expected = F.pad(images[row].permute(2, 0, 1), [4, 4, 4, 4])
        expected = F.crop(expected, int(draws[row, 0] * 9), int(draws[row, 1] * 9), 32, 32)
        expected = F.horizontal_flip(expected) if draws[row, 2] < 0.5 else expected
        assert torch.equal(ours[row].permute(2, 0, 1), expected)


def test_rotation_equals_torchvision_given_the_same_angle() -> None:
    images = _images(8)
    draws = torch.rand(8, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plain = crop_flip_rotate(images, draws, pad=4)
    turned = crop_flip_rotate(images, draws, pad=4, degrees=20.0)
    for row in range(8):
        angle = float(2 * draws[row, 3] - 1) * 20.0
        expected = F.rotate(plain[row].permute(2, 0, 1), angle)
        same = (turned[row].permute(2, 0, 1) == expected).all(dim=0).float().mean()
        # Pixels exactly between two sources may round to either.
        assert same > 0.995


def test_every_shift_flip_and_the_whole_range_of_angles_occur() -> None:
    draws = keyed_uniforms(np.arange(5000), seed=0, epoch=0, count=4)
    assert set((draws[:, 0] * 9).astype(int)) == set(range(9))
    assert abs(np.mean(draws[:, 2] < 0.5) - 0.5) < 0.03
    assert draws[:, 3].min() < 0.01
    assert draws[:, 3].max() > 0.99


@pytest.mark.parametrize("augment", ["none", "crop-flip", "crop-flip-rotate", "randomresizedcrop"])
def test_an_image_is_the_same_in_any_batch_and_order(augment: str) -> None:
    images, index = _images(8), np.array([5, 11, 2, 900, 41, 7, 8, 6])
    transform = BatchTransform(augment, MEAN, STD, train=True, seed=1)
    whole = transform(images, index, 4)
    some = [6, 0, 3]
    torch.testing.assert_close(transform(images[some], index[some], 4), whole[some], rtol=0, atol=0)
    if augment != "none":
        assert not torch.equal(transform(images, index, 5), whole)


def test_evaluation_is_normalised_and_nothing_else() -> None:
    images = _images(3)
    result = BatchTransform("crop-flip", MEAN, STD, train=False, seed=0)(images, np.arange(3), 0)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    expected = (images.permute(0, 3, 1, 2) / 255.0 - mean) / std
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_memory_layout_changes_no_value() -> None:
    images, index = _images(4), np.arange(4)
    plain = BatchTransform("crop-flip", MEAN, STD, train=True, seed=0)(images, index, 0)
    last = BatchTransform("crop-flip", MEAN, STD, train=True, seed=0, channels_last=True)(images, index, 0)
    assert torch.equal(plain, last)
    assert plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("ours", "theirs", "amount"),
    [
        (adjust_brightness, F.adjust_brightness, 0.3),
        (adjust_contrast, F.adjust_contrast, -0.35),
        (adjust_saturation, F.adjust_saturation, 0.4),
        (adjust_hue, F.adjust_hue, 0.17),
        (adjust_hue, F.adjust_hue, -0.2),
    ],
)
def test_colour_operations_equal_torchvision(ours, theirs, amount: float) -> None:  # type: ignore[no-untyped-def]
    images = _images(4).float() / 255.0
    images[0, 0, 0] = 0.5
    result = ours(images, torch.full((4,), amount)).permute(0, 3, 1, 2)
    factor = amount if theirs is F.adjust_hue else 1.0 + amount
    torch.testing.assert_close(result, theirs(images.permute(0, 3, 1, 2), factor), rtol=1e-4, atol=1e-4)


def test_colour_jitter_orders_its_operations_per_image() -> None:
    images = (_images(1).float() / 255.0).expand(48, -1, -1, -1)
    draws = torch.full((48, 5), 0.9, dtype=torch.float64)
    draws[:, 4] = torch.arange(48) / 48
    different = torch.unique(colour_jitter(images, draws, (0.4, 0.4, 0.4, 0.2)).flatten(1), dim=0)
    assert 8 <= len(different) <= 24


def test_colour_jitter_on_a_gpu_gives_what_it_gives_on_a_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    images, shift = torch.rand(24, 5, 6, 3, generator=generator), torch.rand(24, 4, generator=generator) - 0.5
    due = torch.arange(24) % 4
    torch.testing.assert_close(
        colour._jittered_everywhere(images, shift, due), colour._jittered_where_due(images, shift, due)
    )


class _FromTheHost(TorchDispatchMode):
    """Notes each operator that brings values from the host: from its memory, or from Python numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        places = {one.device for one in tree_leaves((args, kwargs, result)) if isinstance(one, torch.Tensor)}
        if len(places) > 1 or "lift_fresh" in str(func):
            self.operators.append(str(func))
        return result


@pytest.mark.parametrize("augment", ["none", "crop-flip", "crop-flip-rotate", "randomresizedcrop"])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_second_batch_brings_nothing_from_the_host(
    device: str, augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each such copy would have the host wait for a GPU. Meta stands in for one, and is blind to Python numbers."""
    monkeypatch.setattr(colour, "_jittered_where_due", colour._jittered_everywhere)
    transform = BatchTransform(augment, MEAN, STD, train=True, seed=0)
    images = _images().to(device)
    draws = transform.draws(np.arange(6), 0).to(device)
    transform.transformed(images, draws)
    with _FromTheHost() as seen:
        transform.transformed(images, draws)
    assert seen.operators == []


def test_resized_crop_box_keeps_area_ratio_and_bounds() -> None:
    areas = []
    for row in range(2000):
        draws = keyed_uniforms(np.array([row]), 0, 0, 40)[0]
        left, top, right, bottom = resized_crop_box(80, 60, draws)
        assert 0 <= left < right <= 80
        assert 0 <= top < bottom <= 60
        assert 0.65 < (right - left) / (bottom - top) < 1.5
        areas.append((right - left) * (bottom - top) / 4800)
    assert 0.07 < min(areas) < 0.1
    assert max(areas) > 0.9
    torch.manual_seed(0)
    image = torch.zeros(3, 60, 80)
    sizes = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])[2:] for _ in range(2000)]
    assert abs(np.mean(areas) - np.mean([height * width / 4800 for height, width in sizes])) < 0.025


def test_unknown_augmentation_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'crop-flip'"):
        check_augment("crop_flip")
