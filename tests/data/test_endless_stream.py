"""A tar stream through a named pipe that never ends: row by row, at flat memory."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from torch.utils.data import DataLoader

from jal_hf.data import collate_images, load_noisy_dataset, make_image_dataset
from tests.data.conftest import encoded


@contextmanager
def endless_pipe(path: Path) -> Iterator[Path]:
    """A pipe into which a thread writes samples until the reader goes away."""
    os.mkfifo(path)
    pictures = [encoded(seed, side=32) for seed in range(64)]

    def write() -> None:
        try:
            with open(path, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as archive:
                for row in itertools.count():
                    for ending, content in (("png", pictures[row % 64]), ("cls", str(row % 10).encode())):
                        entry = tarfile.TarInfo(f"{row:09d}.{ending}")
                        entry.size = len(content)
                        archive.addfile(entry, io.BytesIO(content))
                    archive.members = []
        except BrokenPipeError:
            return

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    yield path
    writer.join(timeout=10)


def batches(path: Path, steps: int, size: int) -> Iterator[dict[str, object]]:
    data = load_noisy_dataset(str(path), streaming=True, num_classes=10, noise="symmetric:0.4,mode=iid")
    dataset = make_image_dataset(
        data["train"],
        image_column="image",
        label_column="label",
        image_size=32,
        mean=[0.5] * 3,
        std=[0.2] * 3,
        augment="crop-flip",
        train=True,
        shuffle_buffer=200,
    )
    loader = DataLoader(dataset, batch_size=size, collate_fn=collate_images)
    yield from itertools.islice(loader, steps)


def test_endless_pipe_is_read_row_by_row(tmp_path: Path) -> None:
    with endless_pipe(tmp_path / "stream.tar") as path:
        seen = list(batches(path, steps=30, size=16))
    index = [int(row) for batch in seen for row in batch["index"]]  # type: ignore[attr-defined]
    assert len(index) == len(set(index)) == 480
    assert max(index) < 480 + 200 + 64
    clean = [int(row) for batch in seen for row in batch["clean_label"]]  # type: ignore[attr-defined]
    assert clean == [row % 10 for row in index]


def test_pipe_without_a_number_of_classes_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stream.tar")
    with pytest.raises(ValueError, match="num_classes"):
        load_noisy_dataset(str(tmp_path / "stream.tar"), streaming=True)


@pytest.mark.slow
def test_endless_stream_stays_at_flat_memory(tmp_path: Path) -> None:
    process = psutil.Process()
    sizes = {}
    with endless_pipe(tmp_path / "stream.tar") as path:
        for step, _ in enumerate(batches(path, steps=2000, size=32), start=1):
            if step in (200, 2000):
                sizes[step] = process.memory_info().rss
    assert sizes[2000] <= 1.05 * sizes[200], sizes
