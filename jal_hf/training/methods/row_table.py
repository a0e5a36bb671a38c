"""Class probabilities for each row of the training set, in half precision, the same on every process."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jal_hf.training.methods.step_view import Setting

# No place of a table: reading there raises.
_NOWHERE = -1


class RowTable:
    """(rows, K) float16 on the training device, 0 for a row that was never written.

    What is written in a step of several processes is kept until `flush`, which gathers it over them: a shuffled row
    comes to another process in the next epoch. A single process writes at once.

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
        places = self._places(index)
        try:
            return values.index_select(0, places).float()
        except IndexError:  # on a GPU its own check of indices fails loudly
            raise ValueError(self._stranger(index)) from None

    def write(self, index: Tensor | None, values: Tensor, counted: Tensor) -> None:
        """Note the values (N, K) of the rows that count and are finite."""
        is_kept = (counted > 0) & torch.isfinite(values).all(dim=1)
        places, values = torch.where(is_kept, self._places(index), self._count), values.detach().half()
        if self.setting.processes == 1:
            self._put(places, values)
        else:
            self._written.append((places, values))

    def flush(self) -> None:
        """Take in what was written since the last time, on all processes."""
        if self._written:
            places = self.setting.gathered(torch.cat([places for places, _ in self._written]))
            values = self.setting.gathered(torch.cat([values for _, values in self._written]))
            self._written = []
            self._put(places, values)

    def _put(self, places: Tensor, values: Tensor) -> None:
        """Write values (N, K) in their places (N,); what is not to be kept has its place behind the last row."""
        assert self.values is not None
        self.values.index_copy_(0, places, values)

    def state_dict(self) -> dict[str, Tensor]:
        """The table, once it exists."""
        return {} if self.values is None else {"rows": self.values[: self._count]}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's table.

        Raises:
            ValueError: None there, or one of other data.
        """
        found, expected = state.get("rows"), self._count
        if found is None or len(found) != expected:
            given = "none" if found is None else f"{len(found):,} rows"
            raise ValueError(
                f"Method {self.method!r} keeps {expected:,} rows and the checkpoint holds {given}: it was made with "
                "another method or other data. Start anew, or resume with what wrote it."
            )
        self.values = torch.cat([found, torch.zeros_like(found[:1])]).to(self.setting.device)

    @property
    def _count(self) -> int:
        return self.rows if self.ids is None else len(self.ids)

    def _allocate(self, classes: int) -> Tensor:
        rows = self._count
        self.values = torch.zeros(rows + 1, classes, dtype=torch.float16, device=self.setting.device)
        size = rows * classes * self.values.element_size() / 2**20
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
        if self.ids is None:
            return torch.where(index < self.rows, index, _NOWHERE)
        places = torch.searchsorted(self.ids, index)
        is_known = self.ids[places.clamp(max=self._count - 1)] == index
        return torch.where(is_known, places, _NOWHERE)

    def _stranger(self, index: Tensor | None) -> str:
        assert index is not None
        is_strange = self._places(index).cpu() < 0
        return (
            f"Row number {int(index.cpu()[is_strange][0])} is none of the {self._count:,} rows of the training set, so "
            f"method {self.method!r} has no place for it."
        )
