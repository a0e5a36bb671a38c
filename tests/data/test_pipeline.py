"""`make_image_dataset`: decode-once cache, batches, workers, epochs, and streams."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from jal_hf.analysis.simple_model import small_image_features
from jal_hf.analysis.thumbnails import picture_of_uri, thumbnail_uri
from jal_hf.data import (
    cache_folder,
    collate_images,
    load_noisy_dataset,
    make_image_dataset,
)
from jal_hf.data.images.decoded_arrays import decoded_array
from jal_hf.data.images.encoded import stored_pictures
from jal_hf.ground.image_files import UnreadableImageError
from jal_hf.noise.image_features import ImageSettings, make_encoder
from jal_hf.noise.image_hashes import image_sha256
from tests.data.conftest import colour_images, encoded

GREY: dict[str, Any] = {"image_size": 8, "in_chans": 1, "mean": [0.3], "std": [0.4]}


def _digits(**options: Any) -> Any:
    data = load_noisy_dataset("digits", noise="symmetric:0.4", max_train_samples=100)
    settings = {**GREY, "augment": "crop-flip", "train": True, "seed": 5, **options}
    return make_image_dataset(data["train"], image_column="image", label_column="label", **settings)


def _rows(count: int, side: int = 16, labels: int = 2) -> datasets.Dataset:
    rows = {
        "image": [{"bytes": encoded(seed, side), "path": None} for seed in range(count)],
        "label": [seed % labels for seed in range(count)],
    }
    names = [str(number) for number in range(labels)]
    label = datasets.ClassLabel(names=names)
    return datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "label": label})
    )


def test_batch_carries_labels_clean_labels_and_row_numbers() -> None:
    dataset = _digits()
    batch = dataset.__getitems__([3, 0, 9])
    assert batch["pixel_values"].shape == (3, 1, 8, 8)
    assert batch["pixel_values"].dtype == torch.float32
    assert set(batch) == {"pixel_values", "labels", "clean_label", "index"}
    assert batch["index"].tolist() == [int(dataset.rows[row]) for row in (3, 0, 9)]


def test_single_items_equal_the_rows_of_a_batch() -> None:
    dataset = _digits()
    batch = dataset.__getitems__([4, 7])
    assert torch.equal(collate_images([dataset[4], dataset[7]])["pixel_values"], batch["pixel_values"])


def test_loader_gives_the_same_epoch_for_any_batch_size_and_workers() -> None:
    def epoch(**options: Any) -> torch.Tensor:
        dataset = _digits()
        dataset.set_epoch(3)
        loader = DataLoader(dataset, collate_fn=collate_images, **options)
        return torch.cat([batch["pixel_values"] for batch in loader])

    first = epoch(batch_size=10)
    assert torch.equal(first, epoch(batch_size=33))
    assert torch.equal(first, epoch(batch_size=10, num_workers=2))


def test_new_epoch_reaches_workers_that_stay_alive() -> None:
    dataset = _digits()
    loader = DataLoader(
        dataset, batch_size=50, num_workers=1, persistent_workers=True, collate_fn=collate_images
    )
    first = torch.cat([batch["pixel_values"] for batch in loader])
    dataset.set_epoch(1)
    second = torch.cat([batch["pixel_values"] for batch in loader])
    dataset.set_epoch(0)
    again = torch.cat([batch["pixel_values"] for batch in loader])
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_augmentation_follows_the_row_number_not_the_position() -> None:
    split = load_noisy_dataset("digits")["train"]
    order = np.random.default_rng(0).permutation(50)
    columns = {"image_column": "image", "label_column": "label"}
    options = {**GREY, **columns, "augment": "crop-flip", "train": True}
    straight = make_image_dataset(split.select(range(50)), **options).__getitems__(order.tolist())
    shuffled = make_image_dataset(split.select(order), **options).__getitems__(list(range(50)))
    assert torch.equal(straight["pixel_values"], shuffled["pixel_values"])


def test_images_are_decoded_once_and_shared_by_noisy_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, noisy = load_noisy_dataset("digits"), load_noisy_dataset("digits", noise="pairflip:0.3")
    decoded_array(clean["train"], "image", 8, 1)
    monkeypatch.setattr(
        "jal_hf.data.images.decoded_arrays.open_image", lambda *_, **__: pytest.fail("decoded again")
    )
    again = decoded_array(noisy["train"], "image", 8, 1)
    assert isinstance(again, np.memmap)
    assert np.array_equal(again[5, :, :, 0], np.asarray(clean["train"][5]["image"]))


def test_cache_notices_other_images_and_a_file_cut_short() -> None:
    first, second = _rows(6), _rows(6).select([1, 0, 2, 3, 4, 5])
    one = decoded_array(first, "image", 16, 3).copy()
    assert np.array_equal(decoded_array(second, "image", 16, 3)[0], one[1])
    for file in (cache_folder() / "decoded").glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-40])
    assert np.array_equal(decoded_array(first, "image", 16, 3), one)


def _decode_in_process(results: Any) -> None:
    results.put(int(decoded_array(_rows(40), "image", 16, 3).sum()))


def test_processes_that_decode_together_agree() -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_decode_in_process, args=(results,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    sums = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert sums == {int(decoded_array(_rows(40), "image", 16, 3).sum())}
    assert not list((cache_folder() / "decoded").glob("*.part"))


def test_the_array_on_disk_never_changes() -> None:
    array = decoded_array(_rows(3), "image", 16, 3)
    before = array[0, 0, 0, 0]
    array[0, 0, 0, 0] = before ^ 255
    assert decoded_array(_rows(3), "image", 16, 3)[0, 0, 0, 0] == before


def test_other_sizes_are_scaled_and_grey_becomes_three_channels() -> None:
    split = load_noisy_dataset("digits")["test"]
    batch = colour_images(split, 20).__getitems__([0, 1])
    assert batch["pixel_values"].shape == (2, 3, 20, 20)
    assert torch.equal(batch["pixel_values"][:, 0], batch["pixel_values"][:, 2])


def test_sixteen_bit_grey_is_scaled_wherever_an_image_is_looked_at(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 1 << 16, (16, 16), dtype=np.uint16)
    wanted = (deep >> 8).astype(np.uint8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    given = datasets.Dataset.from_dict({"image": [str(tmp_path / "deep.png")], "label": [0]})
    rows = given.cast_column("image", datasets.Image())
    stored = stored_pictures(rows, "image")[0]
    encoder = make_encoder({("L", (16, 16))}, ImageSettings(mean=(0.0,), std=(1.0,)), None)
    seen = {
        "training": colour_images(rows, 16, mean=[0.0] * 3, std=[1.0] * 3)[0]["pixel_values"][0] * 255,
        "stored": np.asarray(stored),
        "advice": small_image_features([stored]).reshape(16, 16) * 255,
        "advice on an array's image": small_image_features([Image.fromarray(deep)]).reshape(16, 16) * 255,
        "thumbnail": np.asarray(picture_of_uri(thumbnail_uri(Image.fromarray(deep))))[:, :, 0],
        "noise": encoder(Image.fromarray(deep), 0).reshape(16, 16) * 255,
    }
    for who, pixels in seen.items():
        assert np.array_equal(np.rint(np.asarray(pixels)), wanted), who
    assert image_sha256(Image.fromarray(deep)) == image_sha256(Image.fromarray(wanted))


def test_floating_point_pixels_are_refused_by_row(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((16, 16), dtype=np.float32)).save(tmp_path / "float.tiff")
    given = datasets.Dataset.from_dict({"image": [str(tmp_path / "float.tiff")], "label": [0]})
    rows = given.cast_column("image", datasets.Image())
    for look in (lambda: colour_images(rows, 16), lambda: stored_pictures(rows, "image")):
        with pytest.raises(UnreadableImageError, match=r"Row 0 .*floating-point .* 8 or 16 bits"):
            look()


@pytest.mark.parametrize("augment", ["randomresizedcrop", "resize-crop-flip", "crop-flip"])
def test_large_images_are_the_same_with_and_without_workers(augment: str) -> None:
    dataset = colour_images(_rows(12, side=90), 72, augment=augment, train=True, seed=2)
    assert dataset.wants_workers
    plain = torch.cat([b["pixel_values"] for b in DataLoader(dataset, 4, collate_fn=collate_images)])
    loader = DataLoader(dataset, 6, num_workers=2, collate_fn=collate_images)
    assert torch.equal(plain, torch.cat([batch["pixel_values"] for batch in loader]))
    raw = DataLoader(dataset.finished_on_the_device(), 6, num_workers=2, collate_fn=collate_images)
    assert {batch["pixels"].dtype for batch in raw} == {torch.uint8}
    assert torch.equal(plain, torch.cat([dataset.finished(batch)["pixel_values"] for batch in raw]))
    dataset.set_epoch(1)
    later = torch.cat([b["pixel_values"] for b in DataLoader(dataset, 4, collate_fn=collate_images)])
    assert not torch.equal(plain, later)


def test_evaluation_crop_is_the_middle_of_the_scaled_image() -> None:
    split = _rows(1, side=256)
    batch = colour_images(split, 224, augment="resize-crop-flip").__getitems__([0])
    pixels = np.asarray(split[0]["image"])[16:240, 16:240] / 255.0
    expected = torch.from_numpy((pixels - 0.5) / 0.2).permute(2, 0, 1).float()
    torch.testing.assert_close(batch["pixel_values"][0], expected, rtol=1e-4, atol=1e-4)


def test_unreadable_image_stops_with_its_row_number() -> None:
    rows = _rows(6).to_dict()
    rows["image"][4] = {"bytes": b"not an image", "path": None}
    split = datasets.Dataset.from_dict(rows, features=_rows(1).features)
    with pytest.raises(UnreadableImageError, match="Row 4"):
        colour_images(split, 16)


def test_unreadable_images_are_skipped_and_counted_up_to_five_percent() -> None:
    rows = _rows(60).to_dict()
    for row in (7, 30):
        rows["image"][row] = {"bytes": encoded(row)[:60], "path": None}
    split = datasets.Dataset.from_dict(rows, features=_rows(1).features)
    data = load_noisy_dataset(split, on_bad_image="skip", noise="symmetric:0.5")
    assert (data.skipped_images, len(data["train"])) == (2, 58)
    assert not {7, 30} & set(data["train"]["index"])
    rows["image"][40:43] = [None] * 3
    with pytest.raises(ValueError, match="5 of 60"):
        load_noisy_dataset(
            datasets.Dataset.from_dict(rows, features=_rows(1).features), on_bad_image="skip", noise="none"
        )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"in_chans": 2}, "1 .grey. or 3"),
        ({"mean": [0.5]}, "need 3 mean"),
        ({"std": [0.2, 0.0, 0.2]}, "positive"),
        ({"image_size": 0}, "at least 1"),
        ({"augment": "cutout"}, "Unknown augmentation"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], sentence: str) -> None:
    settings = {"image_size": 16, "mean": [0.5] * 3, "std": [0.2] * 3, **options}
    with pytest.raises(ValueError, match=sentence):
        make_image_dataset(_rows(2), image_column="image", label_column="label", **settings)


@pytest.mark.parametrize(("augment", "limit"), [("crop-flip", 12.0), ("crop-flip-rotate", 24.0)])
def test_augmenting_a_cifar_batch_takes_milliseconds(augment: str, limit: float) -> None:
    dataset = colour_images(_rows(128, side=32), 32, augment=augment, train=True)
    positions = list(range(128))
    dataset.__getitems__(positions)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        dataset.__getitems__(positions)
        times.append((time.perf_counter() - start) * 1000)
    # The limits are several times what an idle core needs (1 and 2.5 ms), for busy machines.
    assert min(times) < limit


def test_mnist_pixels_come_through_untouched(shared: Path) -> None:
    data = load_noisy_dataset(str(shared / "data/mnist"), max_train_samples=64)
    settings = {**GREY, "image_size": 28, "mean": [0.0], "std": [1.0]}
    batch = make_image_dataset(data["train"], image_column="image", label_column="label", **settings)
    pixels = batch.__getitems__([10])["pixel_values"][0, 0] * 255
    assert np.array_equal(pixels.round().numpy(), np.asarray(data["train"][10]["image"]))
