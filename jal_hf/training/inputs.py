"""What reaches the Trainer: batches of tensors, from torch datasets or straight from image datasets."""

from __future__ import annotations

from typing import Any

import datasets
from torch import nn
from transformers import default_data_collator

# Fields of a batch that serve the loss or the record and never reach the model.
BATCH_EXTRAS = frozenset({"clean_label", "index", "sample_weight", "labels"})


def collate_batch(batch: Any) -> dict[str, Any]:
    """Pass a ready batch through; stack a list of examples as the stock collator does."""
    if isinstance(batch, dict):
        return batch
    return dict(default_data_collator(batch))


def as_training_dataset(dataset: Any, model: nn.Module | None, *, train: bool, seed: int) -> Any:
    """Give a `datasets.Dataset` with an image column the preprocessing that the model's configuration states.

    Anything else comes back as it is: torch datasets, datasets with a transform of their own, tokenized text.
    """
    if not isinstance(dataset, datasets.Dataset) or dataset.format["type"] == "custom":
        return dataset
    images = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.Image)]
    settings = getattr(getattr(model, "config", None), "pretrained_cfg", None)
    if not images or not settings:
        return dataset
    from jal_hf.data import make_image_dataset

    labels = [name for name in ("label", "labels", "fine_label") if name in dataset.features]
    if not labels:
        raise ValueError(f"The dataset has no label column, only: {', '.join(dataset.column_names)}.")
    channels, _, size = settings["input_size"]
    return make_image_dataset(
        dataset,
        image_column=images[0],
        label_column=labels[0],
        image_size=size,
        in_chans=channels,
        mean=settings["mean"],
        std=settings["std"],
        augment="none",
        train=train,
        seed=seed,
    )
