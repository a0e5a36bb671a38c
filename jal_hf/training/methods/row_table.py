"""Class probabilities for each row of the training set, in half precision, the same on every process."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jal_hf.training.methods.method import Setting


class RowTable:
    """(rows, K) float16 on the training device, 0 for a row that was never written.

    What is written in a step is kept until `flush`, which gathers it over the processes: a shuffled row comes to
    another process in the next epoch.

    Args:
        method: Whose table it is, for sentences.
        rows: How many rows the training set has.
    """

    def __init__(self, method: str, setting: Setting, rows: int) -> None:
        self.method, self.setting, self.rows = method, setting, rows
        ids = setting.row_ids
        self.ids = None if ids is None else torch.unique(ids).to(setting.device)
        self.values: Tensor | None = None
        self._written: list[tuple[Tensor, Tensor]] = []
        if setting.num_classes is not None:
            self._allocate(setting.num_classes)

    def read(self, index: Tensor | None, classes: int) -> Tensor:
        """The rows' values (N, K), float32.

        Raises:
            ValueError: No row numbers, or unknown ones.
        """
        values = self._allocate(classes) if self.values is None else self.values
        return values[self._places(index)].float()

    def write(self, index: Tensor | None, values: Tensor, counted: Tensor) -> None:
        """Note the values (N, K) of the rows that count and are finite."""
        is_kept = (counted > 0) & torch.isfinite(values).all(dim=1)
        self._written.append((torch.where(is_kept, self._places(index), -1), values.detach().half()))

    def flush(self) -> None:
        """Take in what was written since the last time, on all processes."""
        if not self._written or self.values is None:
            return
        places = self.setting.gathered(torch.cat([places for places, _ in self._written]))
        values = self.setting.gathered(torch.cat([values for _, values in self._written]))
        self._written = []
        is_kept = places >= 0
        self.values[places[is_kept]] = values[is_kept]

    def state_dict(self) -> dict[str, Tensor]:
        """The table, once it exists."""
        return {} if self.values is None else {"rows": self.values}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's table.

        Raises:
            ValueError: None there, or one of other data.
        """
        found = state.get("rows")
        expected = self.rows if self.ids is None else len(self.ids)
        if found is None or len(found) != expected:
            given = "none" if found is None else f"{len(found):,} rows"
            raise ValueError(
                f"Method {self.method!r} keeps {expected:,} rows and the checkpoint holds {given}: it was made with "
                "another method or other data. Start anew, or resume with what wrote it."
            )
        self.values = found.to(self.setting.device)

    def _allocate(self, classes: int) -> Tensor:
        rows = self.rows if self.ids is None else len(self.ids)
        self.values = torch.zeros(rows, classes, dtype=torch.float16, device=self.setting.device)
        size = self.values.numel() * self.values.element_size() / 2**20
        self.setting.say(
            f"Method {self.method!r} keeps {rows:,} rows x {classes} classes in half precision: {size:.1f} MiB."
        )
        return self.values

    def _places(self, index: Tensor | None) -> Tensor:
        if index is None:
            raise ValueError(
                f"Method {self.method!r} keeps something for each row, and the batches have no 'index'. Let the "
                "dataset give each example its row number under that name."
            )
        index = index.to(self.setting.device)
        places = index if self.ids is None else torch.searchsorted(self.ids, index)
        if index.device.type == "cpu":  # a GPU need not be waited for: its own check of indices fails loudly
            last = self.rows if self.ids is None else len(self.ids)
            known = (places >= 0) & (places < last)
            if self.ids is not None:
                known &= self.ids[places.clamp(max=last - 1)] == index
            if not bool(known.all()):
                raise ValueError(
                    f"Row number {int(index[~known][0])} is none of the {last:,} rows of the training set, so method "
                    f"{self.method!r} has no place for it."
                )
        return places
