"""Torch datasets that give whole batches."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import datasets
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jal_hf.data.images.augmentation import BatchTransform
from jal_hf.data.images.batches import Batch
from jal_hf.data.images.crops import ImageCrop
from jal_hf.data.images.encoded import encoded_column
from jal_hf.data.transfer import to_device


class EpochCounter:
    """The epoch number in shared memory, so that worker processes which stay alive see it move."""

    def __init__(self) -> None:
        self._value = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def value(self) -> int:
        return int(self._value.tolist())

    def set(self, epoch: int) -> None:
        self._value.fill_(int(epoch))


class LabelledImages(torch.utils.data.Dataset[Batch]):
    """Rows with labels; subclasses give the pixels of a list of rows.

    `__getitems__` makes the DataLoader hand a whole list of positions over at once, so augmentation is
    batched; `collate_images` passes the result through.
    """

    wants_workers: bool = False
    """Whether DataLoader worker processes help; pixels that are already in memory are faster without."""

    def __init__(
        self, columns: dict[str, Tensor], rows: npt.NDArray[np.int64], transform: BatchTransform
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.transform = transform
        self._epoch = EpochCounter()

    @property
    def epoch(self) -> int:
        """The epoch that keys the augmentation draws."""
        return self._epoch.value

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the draws; seen by running workers too."""
        self._epoch.set(epoch)

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, positions: npt.NDArray[np.int64]) -> Tensor:
        """uint8 pixels of some rows, shape (B, H, W, C)."""
        raise TypeError(f"{type(self).__name__} gives no pixels; use make_image_dataset.")

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        chosen = np.asarray(positions, dtype=np.int64)
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        images = self._images(chosen)
        where = to_device(torch.from_numpy(chosen), next(iter(images.values())).device)
        return {**images, **{name: column[where] for name, column in self.columns.items()}}

    def _images(self, positions: npt.NDArray[np.int64]) -> Batch:
        return {"pixel_values": self.transform(self.pixels(positions), self.rows[positions], self.epoch)}

    def __getitem__(self, position: int) -> Batch:
        if not -len(self) <= position < len(self):
            raise IndexError(f"Row {position} of a dataset with {len(self)} rows.")
        return {name: values[0] for name, values in self.__getitems__([position]).items()}


class ArrayImages(LabelledImages):
    """Small images, all in one uint8 array, on the CPU (memory-mapped) or on the training device."""

    def __init__(
        self,
        array: npt.NDArray[np.uint8],
        columns: dict[str, Tensor],
        rows: npt.NDArray[np.int64],
        transform: BatchTransform,
        device: torch.device,
    ) -> None:
        images = torch.from_numpy(np.asarray(array)).to(device)
        super().__init__({name: column.to(device) for name, column in columns.items()}, rows, transform)
        self.images = images

    def pixels(self, positions: npt.NDArray[np.int64]) -> Tensor:
        return self.images.index_select(0, to_device(torch.from_numpy(positions), self.images.device))

    def batch(self, positions: Tensor, draws: Tensor) -> Batch:
        """The batch of some positions (B,) int64 and their draws (B, D), all on the device of the images."""
        images = self.transform.transformed(self.images.index_select(0, positions), draws)
        return {
            "pixel_values": images,
            **{name: column.index_select(0, positions) for name, column in self.columns.items()},
        }


class DecodedImages(LabelledImages):
    """Large images, decoded and cropped one by one (in DataLoader workers), the rest batched."""

    wants_workers = True

    def __init__(
        self,
        split: datasets.Dataset,
        image_column: str,
        columns: dict[str, Tensor],
        rows: npt.NDArray[np.int64],
        crop: ImageCrop,
        transform: BatchTransform,
    ) -> None:
        super().__init__(columns, rows, transform)
        self.encoded = encoded_column(split, image_column)
        self.image_column = image_column
        self.crop = crop
        self._owner = os.getpid()
        self.is_finished_later = False
        """Whether batches come as uint8 `pixels` and `draws`, of which `finished` makes `pixel_values`."""

    def finished_on_the_device(self) -> DecodedImages:
        """The same images, of which the workers only cut the squares: a quarter of the bytes to hand over."""
        result = copy.copy(self)
        result.is_finished_later = True
        return result

    def finished(self, batch: Batch) -> Batch:
        """The batch with `pixel_values`, made where its `pixels` lie."""
        rest = {name: value for name, value in batch.items() if name not in ("pixels", "draws")}
        return {"pixel_values": self.transform.transformed(batch["pixels"], batch["draws"]), **rest}

    def _images(self, positions: npt.NDArray[np.int64]) -> Batch:
        if not self.is_finished_later:
            return super()._images(positions)
        draws = self.transform.draws(self.rows[positions], self.epoch)
        return {"pixels": self.pixels(positions), "draws": draws}

    def pixels(self, positions: npt.NDArray[np.int64]) -> Tensor:
        if os.getpid() != self._owner:
            # Workers share the cores already; more threads in each only get in each other's way.
            torch.set_num_threads(1)
            self._owner = os.getpid()
        encoded = self.encoded[positions.tolist()][self.image_column]
        epoch = self.epoch
        squares = [
            self.crop(image, int(row), epoch)
            for image, row in zip(encoded, self.rows[positions], strict=True)
        ]
        return torch.from_numpy(np.stack(squares))
