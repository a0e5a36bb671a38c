"""What goes from the host to a device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from jal_hf.data.transfer import to_device


class _HostTensor:
    """Notes how it is sent; there is no GPU in the tests."""

    device = torch.device("cpu")

    def __init__(self, is_pinned: bool = False) -> None:
        self.is_pinned = is_pinned

    def pin_memory(self) -> _HostTensor:
        return _HostTensor(is_pinned=True)

    def to(self, device: Any, non_blocking: bool = False) -> Any:
        return SimpleNamespace(device=device, waits=not (self.is_pinned and non_blocking))


def test_gpu_is_not_waited_for() -> None:
    for device in ("cuda", "cuda:1", torch.device("cuda", 0)):
        sent: Any = to_device(_HostTensor(), device)  # type: ignore[arg-type]
        assert sent.device == device
        assert not sent.waits


def test_values_stay_where_they_are_on_a_cpu() -> None:
    values = torch.arange(3)
    assert to_device(values, "cpu") is values
