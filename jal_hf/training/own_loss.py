"""What an own `compute_loss` is given: the fields of a batch that its model may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from jal_hf.training.methods.batch import BATCH_EXTRAS, Batch

_SHOWN = frozenset({"labels", "sample_weight"})


class OwnLossBatch(dict[str, Any]):
    """A batch for an own `compute_loss`, which hands what it finds there to the model.

    Fields such as `index` and `clean_label` are read by name all the same; they are counted and unpacked nowhere.

    Attributes:
        aside: These fields.
    """

    def __init__(self, batch: Mapping[str, Any]) -> None:
        hidden = BATCH_EXTRAS - _SHOWN
        super().__init__((name, value) for name, value in batch.items() if name not in hidden)
        self.aside: Batch = {name: value for name, value in batch.items() if name in hidden}

    def __missing__(self, name: str) -> Any:
        return self.aside[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self or name in self.aside else default


def fields_of_these_rows(aside: Batch, labels: Any) -> Batch:
    """Fields that were put aside, where they belong to as many rows as there are labels."""
    return {
        name: value
        for name, value in aside.items()
        if not isinstance(value, Tensor) or (labels is not None and len(value) == len(labels))
    }
