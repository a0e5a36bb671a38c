"""A safetensors file whose tensors start at multiples of 64 bytes where their sizes allow.

transformers maps the file into memory and computes on it in place. The matrix products of MKL give other
last bits for weights that start elsewhere than torch's own, 64-byte aligned memory, so logits of a loaded
model would differ from the trained model's by about 1e-6. `safetensors.save_file` orders tensors by name and
so cannot keep them aligned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from jal_hf.ground.files import whole_file

_ALIGNMENT = 64
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write `weights` to `path` in the safetensors format; a crash on the way leaves a former file whole.

    Raises:
        ValueError: for a dtype that the format or this writer lacks.
    """
    order = sorted(weights, key=lambda name: (-_power_of_two(_size(weights[name])), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in order:
        tensor = weights[name]
        if tensor.dtype not in _DTYPES:
            allowed = ", ".join(str(dtype) for dtype in _DTYPES)
            raise ValueError(
                f"Weight {name!r} is {tensor.dtype}, which cannot be saved; allowed are {allowed}."
            )
        end = start + _size(tensor)
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(_bytes(weights[name]))


def savable_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values as contiguous tensors, each with memory of its own, as `safetensors.torch.save_file` wants them.

    Weights in the channels_last layout are not contiguous; tied ones share their memory, and a file holds each twice.
    """
    seen: set[int] = set()
    result = {}
    for name, tensor in weights.items():
        own = tensor.detach().contiguous()
        address = own.untyped_storage().data_ptr()
        result[name] = own.clone() if address in seen or own.nbytes < own.untyped_storage().nbytes() else own
        seen.add(address)
    return result


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _power_of_two(size: int) -> int:
    """The largest power of two up to 64 that divides `size`; in descending order each start is as aligned as
    its size.
    """
    return min(size & -size, _ALIGNMENT) if size else _ALIGNMENT


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    content: bytes = flat.view(torch.uint8).numpy().tobytes()
    return content
