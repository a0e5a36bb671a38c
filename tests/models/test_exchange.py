"""ONNX and TorchScript files give the model's own logits, at any number of images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from jal_hf.models import add_lora, create_model, export_onnx, export_torchscript, freeze_batch_norm

MODELS = {
    "jal_digits_cnn": lambda: create_model("jal_digits_cnn", num_labels=3, class_names=["a", "b", "c"]),
    "mobilenet": lambda: create_model("mobilenetv3_small_050", num_labels=3, image_size=32),
    "bare timm vit": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32),
    "transformers": lambda: ViTForImageClassification(
        ViTConfig(
            image_size=32,
            patch_size=16,
            num_labels=3,
            num_hidden_layers=1,
            num_attention_heads=2,
            hidden_size=16,
        )
    ),
}


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    output: Any = model(images)
    return output if isinstance(output, torch.Tensor) else output.logits


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *((kind, "torchscript") for kind in sorted(MODELS)),
        *((kind, "onnx") for kind in ("jal_digits_cnn", "transformers")),
        *(pytest.param(kind, "onnx", marks=pytest.mark.slow) for kind in ("mobilenet", "bare timm vit")),
    ],
)
def test_file_gives_the_models_own_logits(kind: str, form: str, tmp_path: Path) -> None:
    runtime = (
        pytest.importorskip("onnxruntime", reason="pip install 'jal_hf[onnx]'") if form == "onnx" else None
    )
    model = MODELS[kind]().train()
    freeze_batch_norm(model)
    modes = [module.training for module in model.modules()]
    size = (1, 8, 8) if kind == "jal_digits_cnn" else (3, 32, 32)
    path = tmp_path / "new" / f"model.{form}"
    difference = (export_onnx if form == "onnx" else export_torchscript)(
        model, path, input_size=None if kind in ("jal_digits_cnn", "mobilenet") else size
    )
    assert 0 <= difference < 1e-4
    assert [module.training for module in model.modules()] == modes
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    images = torch.randn(5, *size)
    facts: dict[str, Any] = {"class_names": "", "preprocessing": ""}
    if runtime is not None:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {"pixel_values": images.numpy()})[0])
        facts = session.get_modelmeta().custom_metadata_map
    else:
        found = torch.jit.load(path, _extra_files=facts)(images)
    torch.testing.assert_close(found, logits(model.eval(), images), rtol=1e-3, atol=1e-4)
    if kind == "jal_digits_cnn":
        assert json.loads(facts["class_names"]) == ["a", "b", "c"]
        assert json.loads(facts["preprocessing"])["input_size"] == [1, 8, 8]


def test_adapters_are_merged_into_the_file_and_stay_in_the_model(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    model = add_lora(MODELS["mobilenet"]())
    assert export_torchscript(model, tmp_path / "m.pt") < 1e-4
    assert any("lora_A" in name for name in model.state_dict())
    assert "lora_A" not in str(torch.jit.load(tmp_path / "m.pt").state_dict().keys())


class Random(nn.Module):
    """Another answer each time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3] + torch.rand(1)


class Fixed(nn.Module):
    """An answer whose number of rows is that of the images it was traced with."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[: int(x.shape[0]), :3] + torch.zeros(int(x.shape[0]), 1)


@pytest.mark.parametrize("kind", [Random, Fixed])
def test_file_that_differs_is_not_written(kind: type[nn.Module], tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_text("the former one")
    with pytest.raises(ValueError, match=r"logits differ from the model|cannot be written as 'm.pt'"):
        export_torchscript(kind(), tmp_path / "m.pt", input_size=(3, 4, 4))
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("m.pt", "the former one")]


def test_unknown_size_and_absent_packages_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give input_size"):
        export_torchscript(nn.Flatten(), tmp_path / "m.pt")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=r"ONNX needs onnx, onnxscript, onnxruntime: pip install 'jal_hf\[onnx\]'"
    ):
        export_onnx(nn.Flatten(), tmp_path / "m.onnx")
