"""The training rows of a Trainer: their loader, their order, and the same rows as they are evaluated."""

from __future__ import annotations

from typing import Any

import datasets
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from jal_hf.training.captured.step import CapturedStep
from jal_hf.training.epochs import LengthGroupsByEpoch
from jal_hf.training.inputs import RawImages
from jal_hf.training.loaders import collating_ready_batches, dropping_last, leaves_one_row


class TrainingRows(Trainer):
    """The part of `RobustTrainer` that gives batches to train on."""

    args: Any
    model: Any
    train_dataset: Any
    given_train_dataset: Any
    raw_images: RawImages
    captured: CapturedStep | None
    _train_loader: Any

    def get_train_dataloader(self) -> Any:
        """As the parent's; a captured step makes its batches itself, from the rows and draws of a batch.

        A last batch of one row, on which batch norm cannot train, is left out.
        """
        given: Any = self.train_dataset  # type: ignore[has-type]
        is_one = leaves_one_row(self.model, given, self.args.train_batch_size * self.args.world_size)
        if self.captured is not None:
            self.train_dataset = self.captured.images
        try:
            with (
                dropping_last(self.args, self.args.dataloader_drop_last or is_one),
                collating_ready_batches(self, given),
            ):
                self._train_loader = super().get_train_dataloader()
                return self._train_loader
        finally:
            self.train_dataset = given

    def _get_train_sampler(self, *arguments: Any) -> Any:
        """As the parent's; groups of like length are drawn by epoch too, as no public method lets them be."""
        args, sampler = self.args, super()._get_train_sampler(*arguments)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        return LengthGroupsByEpoch(
            sampler.lengths, rows, args.seed if args.data_seed is None else args.data_seed
        )

    def unaugmented_train_dataset(self) -> Any:
        """The training rows as they are evaluated, or None where they are no raw images, or a stream."""
        given = self.given_train_dataset
        return self.raw_images.ready(given, train=False) if isinstance(given, datasets.Dataset) else None
