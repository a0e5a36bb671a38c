"""A trained model as one file for programs without this package: ONNX and TorchScript."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jal_hf.ground.files import whole_file
from jal_hf.models.export import unwrapped
from jal_hf.models.lora import merge_lora

_TOLERANCE = 1e-3
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class _Logits(nn.Module):
    """A model whose output is the logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        output = self.model(pixel_values)
        logits: Tensor = output if isinstance(output, Tensor) else output.logits
        return logits


def export_onnx(
    model: nn.Module, path: str | os.PathLike[str], *, input_size: Sequence[int] | None = None
) -> float:
    """Write an image classifier as ONNX, compare it with the model in onnxruntime, and return the difference.

    The file maps `pixel_values` (N, C, H, W), any N, to `logits` (N, K). Its metadata hold `class_names` and
    `preprocessing` as JSON. LoRA's adapters are merged; the model itself is left as it is.

    Args:
        input_size: (C, H, W); None takes the model's own.

    Returns:
        The largest absolute difference between the file's logits and the model's, on random images.

    Raises:
        ImportError: when onnx, onnxscript or onnxruntime is not installed.
        ValueError: when the input size is not known, the model holds what the format lacks, or the file's logits
            differ; nothing is then written.
    """
    if absent := [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]:
        raise ImportError(f"ONNX needs {', '.join(absent)}: pip install 'jal_hf[onnx]'")

    def write(network: nn.Module, images: Tensor, facts: dict[str, str], file: str) -> None:
        program: Any = torch.onnx.export(
            network, (images,), dynamo=True, verbose=False, input_names=["pixel_values"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
        program.model.metadata_props.update(facts)
        program.save(file)

    def read(file: str) -> Callable[[Tensor], Tensor]:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda images: torch.from_numpy(session.run(["logits"], {"pixel_values": images.numpy()})[0])

    return _export(model, path, input_size, write, read)


def export_torchscript(
    model: nn.Module, path: str | os.PathLike[str], *, input_size: Sequence[int] | None = None
) -> float:
    """Write an image classifier as TorchScript, compare it with the model, and return the difference.

    As `export_onnx`, without further packages; the metadata are the extra files `class_names` and `preprocessing`.
    torch no longer develops this format: take ONNX where nothing else speaks for it.
    """

    def write(network: nn.Module, images: Tensor, facts: dict[str, str], file: str) -> None:
        with warnings.catch_warnings():  # that it is deprecated stands above
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(network, images, check_trace=False)  # type: ignore[no-untyped-call]
            # Through memory: torch ends the process where its own writer meets a full disk.
            content = io.BytesIO()
            torch.jit.save(traced, content, _extra_files=facts)
        Path(file).write_bytes(content.getvalue())

    def read(file: str) -> Callable[[Tensor], Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Callable[[Tensor], Tensor] = torch.jit.load(file)  # type: ignore[no-untyped-call]
        return loaded

    return _export(model, path, input_size, write, read)


def _export(
    model: nn.Module,
    path: str | os.PathLike[str],
    input_size: Sequence[int] | None,
    write: Callable[[nn.Module, Tensor, dict[str, str], str], None],
    read: Callable[[str], Callable[[Tensor], Tensor]],
) -> float:
    model = unwrapped(model)
    config: Any = getattr(model, "config", None)
    values = getattr(config, "pretrained_cfg", None) or getattr(model, "pretrained_cfg", None) or {}
    size = tuple(input_size or values.get("input_size") or ())
    if not size:
        raise ValueError("The size of this model's input is not known; give input_size=(C, H, W).")
    names = getattr(config, "id2label", None) or {}
    words = ("input_size", "mean", "std", "interpolation", "crop_pct")
    facts = {
        "class_names": json.dumps([names[label] for label in sorted(names)]),
        "preprocessing": json.dumps({word: values[word] for word in words if word in values}),
    }
    network = _Logits(merge_lora(copy.deepcopy(model).cpu().float())).eval()
    # one of another number of images than the one it is written with, so that a fixed batch size shows
    generator = torch.Generator().manual_seed(0)
    images, others = (torch.randn(rows, *size, generator=generator) for rows in (2, 3))
    path = Path(path)
    with whole_file(path) as temporary:
        try:
            with torch.no_grad():
                write(network, images, facts, str(temporary))
                expected, found = network(others), read(str(temporary))(others)
        except RuntimeError as error:
            raise ValueError(f"{type(model).__name__} cannot be written as {path.name!r}: {error}") from error
        difference = float((expected - found).abs().max()) if expected.shape == found.shape else float("inf")
        if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
            raise ValueError(
                f"The exported file's logits differ from the model's by {difference:.3g}, so {path.name!r} was not "
                "written. Choose another format, or another version of torch."
            )
    return difference
