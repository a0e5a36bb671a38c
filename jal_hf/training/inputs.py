"""What reaches the Trainer: batches of tensors, from torch datasets or straight from image datasets."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import default_data_collator

from jal_hf.data import prepare_dataset

# Fields of a batch that serve the loss or the record and never reach the model.
BATCH_EXTRAS = frozenset({"clean_label", "index", "sample_weight", "labels"})


def collate_batch(batch: Any) -> dict[str, Any]:
    """Pass a ready batch through; stack a list of examples as the stock collator does."""
    if isinstance(batch, dict):
        return batch
    return dict(default_data_collator(batch))


def as_training_dataset(dataset: Any, model: nn.Module | None, *, train: bool, seed: int) -> Any:
    """A raw image dataset with the preprocessing that the model's configuration states; see `prepare_dataset`."""
    config = getattr(model, "config", None)
    names = getattr(config, "id2label", None) or {}
    return prepare_dataset(
        dataset,
        getattr(config, "pretrained_cfg", None),
        train=train,
        seed=seed,
        class_names=[str(names[number]) for number in sorted(names)] or None,
    )
