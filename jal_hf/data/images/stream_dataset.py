"""A stream as a torch dataset: shuffled in a buffer, decoded row by row, augmented in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import datasets
import numpy as np
import torch

from jal_hf.data.images.augmentation import BatchTransform
from jal_hf.data.images.batch_datasets import EpochCounter
from jal_hf.data.images.batches import Batch
from jal_hf.data.images.crops import ImageCrop
from jal_hf.ground.image_files import MOST_UNREADABLE, UnreadableImageError

Row = Mapping[str, Any]
"""Values of one row by column."""

_READ_BLOCK = 32
_DECODE_BLOCK = 64
_JUDGE_FROM = 200
_COUNTERS = 64


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
        label_column: str | None,
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
        self._counts = torch.zeros((_COUNTERS, 2), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

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
        return int(self._counts[:, 1].sum().item())

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        rows = self._shuffled(epoch)
        while block := list(islice(rows, _DECODE_BLOCK)):
            yield from self._samples(block, epoch)
        self._judge(at_end=True)

    def _own_rows(self) -> Iterator[Row]:
        worker = torch.utils.data.get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        first = 0
        for batch in self.stream.iter(batch_size=_READ_BLOCK):
            size = len(batch[self.image_column])
            # A stream that load_noisy_dataset did not make is numbered here.
            batch.setdefault("index", list(range(first, first + size)))
            first += size
            for position, index in enumerate(batch["index"]):
                if index % count == number:
                    yield {name: values[position] for name, values in batch.items()}

    def _shuffled(self, epoch: int) -> Iterator[Row]:
        if self.shuffle_buffer <= 1:
            yield from self._own_rows()
            return
        generator = np.random.default_rng([self.transform.seed, epoch])
        buffer: list[Row] = []
        for row in self._own_rows():
            if len(buffer) < self.shuffle_buffer:
                buffer.append(row)
                continue
            place = int(generator.integers(len(buffer)))
            chosen, buffer[place] = buffer[place], row
            yield chosen
        for place in generator.permutation(len(buffer)):
            yield buffer[int(place)]

    def _samples(self, block: list[Row], epoch: int) -> Iterator[Batch]:
        """Decode and augment a block of rows."""
        kept: list[Row] = []
        squares: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        for row in block:
            try:
                squares.append(self.crop(row[self.image_column], int(row["index"]), epoch))
                kept.append(row)
            except UnreadableImageError:
                if self.on_bad_image == "error":
                    raise
        self._count(len(block), len(block) - len(kept))
        if not kept:
            return
        columns = {"index": self._column(kept, "index")}
        if self.label_column is not None:
            columns["labels"] = self._column(kept, self.label_column)
        if kept[0].get("clean_label") is not None:
            columns["clean_label"] = self._column(kept, "clean_label")
        if "sample_weight" in kept[0]:
            columns["sample_weight"] = self._column(kept, "sample_weight", torch.float32)
        images = self.transform(torch.from_numpy(np.stack(squares)), columns["index"].numpy(), epoch)
        for position in range(len(kept)):
            yield {
                "pixel_values": images[position],
                **{name: values[position] for name, values in columns.items()},
            }

    @staticmethod
    def _column(rows: list[Row], name: str, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.tensor([row[name] for row in rows], dtype=dtype)

    def _count(self, seen: int, bad: int) -> None:
        worker = torch.utils.data.get_worker_info()
        # A row of its own for each worker: additions from several processes do not get lost.
        own = self._counts[0 if worker is None else worker.id % _COUNTERS]
        own += torch.tensor([seen, bad])
        if bad:
            self._judge(at_end=False)

    def _judge(self, *, at_end: bool) -> None:
        seen, bad = (int(value) for value in self._counts.sum(dim=0).tolist())
        if bad > MOST_UNREADABLE * seen and (at_end or seen >= _JUDGE_FROM):
            raise UnreadableImageError(
                f"{bad} of the {seen} images read so far are unreadable, more than {MOST_UNREADABLE:.0%}; "
                "skipping so many would hide a broken dataset."
            )
