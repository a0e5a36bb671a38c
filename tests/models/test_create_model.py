"""`create_model`: labels, preprocessing, pretrained weights, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from transformers import ResNetConfig, ResNetForImageClassification, TimmWrapperForImageClassification

from jal_hf.models import create_model, default_in_chans, export_model

CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}


def test_model_holds_the_runs_labels_and_preprocessing() -> None:
    model = create_model("resnet10t", num_labels=3, class_names=["cat", "dog", "ant"], image_size=32, **CIFAR)
    assert isinstance(model, TimmWrapperForImageClassification)
    assert model.config.id2label == {0: "cat", 1: "dog", 2: "ant"}
    assert model.config.label2id == {"cat": 0, "dog": 1, "ant": 2}
    for cfg in (model.config.pretrained_cfg, model.timm_model.pretrained_cfg):
        assert tuple(cfg["input_size"]) == (3, 32, 32)
        assert (cfg["mean"], cfg["std"]) == (CIFAR["mean"], CIFAR["std"])
        assert (cfg["interpolation"], cfg["crop_pct"]) == ("bicubic", 1.0)
    assert model(torch.zeros(2, 3, 32, 32)).logits.shape == (2, 3)


@pytest.mark.parametrize("name", ["jal_cnn8", "resnet10t", "vit_tiny_patch16_224"])
def test_model_starts_with_the_networks_own_weights_and_not_those_of_the_wrapper(name: str) -> None:
    # transformers would draw every weight anew from N(0, 0.02)
    torch.manual_seed(5)
    plain = timm.create_model(name, num_classes=10, in_chans=3)
    torch.manual_seed(5)
    model = create_model(name, num_labels=10)
    for key, value in plain.state_dict().items():
        assert torch.equal(value, model.timm_model.state_dict()[key]), key
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_image_size_reaches_a_network_that_is_built_for_one_size() -> None:
    model = create_model("vit_tiny_patch16_224", num_labels=10, image_size=32, in_chans=1, mean=0.5, std=0.25)
    assert model.config.model_args == {"in_chans": 1, "img_size": [32, 32]}
    assert model.config.pretrained_cfg["mean"] == (0.5,)
    assert model(torch.zeros(2, 1, 32, 32)).logits.shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnt18", {}, "Did you mean 'resnet18'"),
        ("resnet18.a1_in", {}, r"Did you mean 'resnet18\.a1_in1k'"),
        ("resnet10t", {"class_names": ["a", "b"]}, "num_labels is 3, yet there are 2 class names"),
        ("resnet10t", {"class_names": ["a", "b", "a"]}, "a come more than once"),
        ("resnet10t", {"mean": (0.1, 0.2)}, "mean holds 2 numbers"),
        ("resnet10t", {"std": 0.0}, "must be positive"),
        ("resnet10t", {"image_size": 0}, "image_size is 0"),
        ("resnet10t", {"crop_pct": 1.5}, r"must lie in \(0, 1\]"),
        ("resnet10t", {"interpolation": "cubic"}, "choose one of nearest, bilinear"),
        ("inception_v3", {"image_size": 32}, "cannot take images of 32x32"),
        ("jal_cnn8", {"image_size": 4}, "too small for 3 pools"),
        ("resnet10t", {"colour": 3}, "does not take these arguments"),
        ("jal_cnn8", {"pretrained": True}, "no published weights"),
        ("hf-hub:", {}, "names nothing after the colon"),
    ],
)
def test_model_that_cannot_be_is_refused_in_a_sentence(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, num_labels=3, **arguments)


def test_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        create_model("resnet10t", num_labels=1)


def test_weights_that_are_not_to_be_had_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="neither in the cache nor reachable"):
        create_model("resnet18", num_labels=3, pretrained=True)
    with pytest.raises(FileNotFoundError, match="is not in the cache and the Hub cannot be reached"):
        create_model("hf-hub:tester/nothing", num_labels=3)
    with pytest.raises(FileNotFoundError, match=r"there is no config\.json"):
        create_model("local-dir:/nowhere", num_labels=3)


def test_checkpoint_without_safetensors_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ValueError, match="Only safetensors are loaded"):
        create_model(str(tmp_path), num_labels=3)


@pytest.mark.parametrize("form", ["local-dir:{}", "{}"])
def test_training_goes_on_from_an_exported_model(tmp_path: Path, form: str) -> None:
    first = create_model("jal_mnist_cnn", num_labels=3, class_names=["a", "b", "c"], mean=0.2, std=0.3).eval()
    export_model(first, tmp_path)
    again = create_model(form.format(tmp_path), num_labels=3).eval()
    image = torch.randn(2, 1, 28, 28)
    assert torch.equal(again(image).logits, first(image).logits)
    assert again.config.id2label == first.config.id2label
    assert tuple(again.config.pretrained_cfg["mean"]) == (0.2,)
    other = create_model(form.format(tmp_path), num_labels=5, mean=0.4)
    assert other.timm_model.fc.out_features == 5
    assert tuple(other.config.pretrained_cfg["mean"]) == (0.4,)
    assert torch.equal(other.timm_model.hidden.fc.weight, first.timm_model.hidden.fc.weight)


def test_model_of_transformers_is_loaded_and_its_head_replaced(tmp_path: Path) -> None:
    config = ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8, num_labels=4, layer_type="basic")
    ResNetForImageClassification(config).save_pretrained(tmp_path / "source")
    model = create_model(
        f"transformers:{tmp_path / 'source'}",
        num_labels=3,
        class_names=["a", "b", "c"],
        image_size=32,
        **CIFAR,
    )
    assert isinstance(model, ResNetForImageClassification)
    assert model(torch.zeros(2, 3, 32, 32)).logits.shape == (2, 3)
    assert model.config.pretrained_cfg["input_size"] == (3, 32, 32)
    export_model(model.eval(), tmp_path / "out")
    preprocessor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert preprocessor["image_mean"] == list(CIFAR["mean"])
    again = create_model(str(tmp_path / "out"), num_labels=3).eval()
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(image).logits, model(image).logits)
    assert again.config.id2label == {0: "a", 1: "b", 2: "c"}
    with pytest.raises(ValueError, match="takes images of 3 channels, not 1"):
        create_model(str(tmp_path / "out"), num_labels=3, in_chans=1)


def test_default_channels_suit_the_pipeline() -> None:
    assert default_in_chans("jal_mnist_cnn", 1) == 1
    assert default_in_chans("jal_mnist_cnn", 3) == 3
    assert default_in_chans("resnet18", 1) == 3
    assert default_in_chans("hf-hub:tester/grey", 3) is None
    assert default_in_chans("resnet18", None) is None
