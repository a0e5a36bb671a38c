"""A stream as a torch dataset: shuffled in a buffer, decoded row by row, augmented in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import torch

from jal_hf.data.augment import BatchTransform
from jal_hf.data.collate import Batch
from jal_hf.data.crops import ImageCrop
from jal_hf.data.decode import UnreadableImageError
from jal_hf.data.image_datasets import EpochCounter

MOST_UNREADABLE = 0.05
"""Share of unreadable images beyond which skipping them would hide a broken dataset."""
_READ_BLOCK = 32
_DECODE_BLOCK = 64
_JUDGE_FROM = 200


class StreamedImages(torch.utils.data.IterableDataset[Batch]):
    """Samples of an `IterableDataset` in the form of `make_image_dataset`.

    Each worker reads the whole stream and decodes the rows whose number falls to it, so row numbers, and
    with them noise and augmentation, are the same for any number of workers. Memory holds the shuffle buffer
    (encoded images) and one block.
    """

    wants_workers = True

    def __init__(
        self,
        stream: datasets.IterableDataset,
        image_column: str,
        label_column: str,
        crop: ImageCrop,
        transform: BatchTransform,
        *,
        shuffle_buffer: int,
        on_bad_image: str,
    ) -> None:
        if stream.features is not None:
            stream = stream.cast_column(image_column, datasets.Image(decode=False))
        self.stream = stream
        self.image_column = image_column
        self.label_column = label_column
        self.crop = crop
        self.transform = transform
        self.shuffle_buffer = shuffle_buffer
        self.on_bad_image = on_bad_image
        self._epoch = EpochCounter()
        self._counts = torch.zeros(2, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch that keys shuffling and augmentation."""
        return self._epoch.value

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the draws; seen by running workers too."""
        self._epoch.set(epoch)

    @property
    def skipped_images(self) -> int:
        """Unreadable images left out so far, over all workers."""
        return int(self._counts[1].item())

    def __iter__(self) -> Iterator[Batch]:
        block: list[tuple[np.ndarray[Any, np.dtype[np.uint8]], dict[str, int]]] = []
        epoch = self.epoch
        for row in self._shuffled(epoch):
            decoded = self._decode(row, epoch)
            if decoded is not None:
                block.append(decoded)
            if len(block) == _DECODE_BLOCK:
                yield from self._finish(block, epoch)
                block = []
        yield from self._finish(block, epoch)
        self._judge(at_end=True)

    def _own_rows(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        first = 0
        for batch in self.stream.iter(batch_size=_READ_BLOCK):
            size = len(batch[self.label_column])
            # A stream that load_noisy_dataset did not make is numbered here.
            batch.setdefault("index", list(range(first, first + size)))
            first += size
            for position, index in enumerate(batch["index"]):
                if index % count == number:
                    yield {name: values[position] for name, values in batch.items()}

    def _shuffled(self, epoch: int) -> Iterator[dict[str, Any]]:
        if self.shuffle_buffer <= 1:
            yield from self._own_rows()
            return
        generator = np.random.default_rng([self.transform.seed, epoch])
        buffer: list[dict[str, Any]] = []
        for row in self._own_rows():
            if len(buffer) < self.shuffle_buffer:
                buffer.append(row)
                continue
            place = int(generator.integers(len(buffer)))
            chosen, buffer[place] = buffer[place], row
            yield chosen
        for place in generator.permutation(len(buffer)):
            yield buffer[int(place)]

    def _decode(
        self, row: dict[str, Any], epoch: int
    ) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], dict[str, int]] | None:
        self._counts[0] += 1
        try:
            pixels = self.crop(row[self.image_column], int(row["index"]), epoch)
        except UnreadableImageError:
            if self.on_bad_image == "error":
                raise
            self._counts[1] += 1
            self._judge(at_end=False)
            return None
        fields = {"labels": int(row[self.label_column]), "index": int(row["index"])}
        if row.get("clean_label") is not None:
            fields["clean_label"] = int(row["clean_label"])
        return pixels, fields

    def _judge(self, *, at_end: bool) -> None:
        seen, bad = (int(value) for value in self._counts.tolist())
        if bad > MOST_UNREADABLE * seen and (at_end or seen >= _JUDGE_FROM):
            raise UnreadableImageError(
                f"{bad} of the {seen} images read so far are unreadable, more than {MOST_UNREADABLE:.0%}; "
                "skipping so many would hide a broken dataset."
            )

    def _finish(
        self, block: list[tuple[np.ndarray[Any, np.dtype[np.uint8]], dict[str, int]]], epoch: int
    ) -> Iterator[Batch]:
        if not block:
            return
        rows = np.array([fields["index"] for _, fields in block], dtype=np.int64)
        images = self.transform(torch.from_numpy(np.stack([pixels for pixels, _ in block])), rows, epoch)
        for position, (_, fields) in enumerate(block):
            yield {
                "pixel_values": images[position],
                **{name: torch.tensor(value) for name, value in fields.items()},
            }
