"""Small datasets on disk, each in the form it is published in."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jal_hf.data import make_image_dataset


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test decodes for itself and leaves nothing behind."""
    monkeypatch.setenv("JAL_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def picture(seed: int, side: int = 16, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])


def encoded(seed: int, side: int = 16, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture(seed, side).save(buffer, form)
    return buffer.getvalue()


def save_picture(path: Path, seed: int, side: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed, side, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two splits of two classes, 6 and 2 images a class."""
    root = tmp_path / "images"
    for split, count in (("train", 6), ("test", 2)):
        for number, name in enumerate(("cat", "dog")):
            for row in range(count):
                save_picture(
                    root / split / name / f"{row}.png", 100 * number + row + (1000 if split == "test" else 0)
                )
    return root


@pytest.fixture
def write_tar(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, labels: list[object], *, first: int = 0, form: str = "cls") -> Path:
        path = tmp_path / "shards" / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for row, label in enumerate(labels):
                members = {"png": encoded(first + row)}
                if label is not None:
                    text = json.dumps({"label": label, "width": 16}) if form == "json" else str(label)
                    members[form] = text.encode()
                for ending, content in members.items():
                    entry = tarfile.TarInfo(f"sample{first + row:05d}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def webvision(tmp_path: Path) -> Path:
    """Four images in each of two classes of the first 50, two of class 70; lists with two malformed lines."""
    root = tmp_path / "webvision"
    lines, seed = [], 0
    for label in (0, 1, 70):
        for row in range(2 if label == 70 else 4):
            key = f"google/q{label + 1:04d}/img{row}.jpg"
            save_picture(root / key, seed := seed + 1, side=32)
            lines.append(f"{key} {label}")
    lines[3:3] = ["google/q0001/broken.jpg", "google/q0001/broken.jpg x"]
    (root / "info").mkdir()
    (root / "info/train_filelist_google.txt").write_text("\n".join(lines) + "\n")
    (root / "info/val_filelist.txt").write_text("val000001.jpg 0\nval000002.jpg 70\nval000003.jpg 1\n")
    for number in (1, 2, 3):
        save_picture(root / f"val_images_256/val{number:06d}.jpg", 500 + number, side=32)
    synsets = [f"n{number:08d} word{number}, other" for number in range(1000)]
    (root / "info/synsets.txt").write_text("\n".join(synsets))
    for number in range(50):
        save_picture(
            root / f"imagenet/val/n{number:08d}/ILSVRC2012_val_{number:08d}.JPEG", 900 + number, side=32
        )
    return root


@pytest.fixture
def clothing1m(tmp_path: Path) -> Path:
    root = tmp_path / "clothing"
    keys = {
        split: [f"images/{number}/{row:02d}/{row},{number}.jpg" for row in range(count)]
        for number, (split, count) in enumerate((("noisy_train", 28), ("clean_val", 4), ("clean_test", 6)))
    }
    noisy, clean = [], []
    for number, (split, paths) in enumerate(keys.items()):
        (root).mkdir(exist_ok=True)
        (root / f"{split}_key_list.txt").write_text("\n".join(paths) + "\n")
        for row, key in enumerate(paths):
            save_picture(root / key, 1000 * number + row, side=32)
            (noisy if split == "noisy_train" else clean).append(f"{key} {row % 14}")
    noisy.insert(5, "images/0/00/cut off")
    (root / "noisy_label_kv.txt").write_text("\n".join(noisy) + "\n")
    (root / "clean_label_kv.txt").write_text("\n".join(clean) + "\n")
    return root


def colour_images(split: Any, side: int, **options: Any) -> Any:
    """A torch dataset of RGB images with columns `image` and `label`."""
    settings = {"image_size": side, "mean": [0.5] * 3, "std": [0.2] * 3, **options}
    return make_image_dataset(split, image_column="image", label_column="label", **settings)
