"""The papers' networks: sizes, starting weights, timm's interface."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import pytest
import timm
import torch

from jal_hf.models.channels import match_channels
from jal_hf.models.networks import __all__ as NAMES

SHAPES = {
    "jal_digits_cnn": (1, 8),
    "jal_mnist_cnn": (1, 28),
    "jal_cnn8": (3, 32),
    "jal_resnet34_cifar": (3, 32),
}


def images(name: str, count: int = 2) -> torch.Tensor:
    channels, size = SHAPES[name]
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_every_network_is_in_the_registry() -> None:
    assert sorted(NAMES) == sorted(SHAPES) == sorted(timm.list_models("jal_*"))


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("jal_cnn8", 10, 1_639_794),
        # conv 320 + 18,496, batch-norm 64 + 128, fc 401,536, batch-norm 256, classifier 1,290
        ("jal_mnist_cnn", 10, 422_090),
        ("jal_digits_cnn", 10, 62_762),
        # torchvision's ResNet-34, its 7x7 stem of 9,408 weights become 3x3 with 1,728, and 100 classes
        ("jal_resnet34_cifar", 100, 21_797_672 - 9_408 + 1_728 - 513_000 + 51_300),
    ],
)
def test_network_has_the_papers_number_of_parameters(name: str, classes: int, parameters: int) -> None:
    model = timm.create_model(name, num_classes=classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_network_answers_timms_interface(name: str) -> None:
    model = timm.create_model(name, num_classes=7).eval()
    with torch.no_grad():
        logits = model(images(name))
        features = model.forward_features(images(name))
        hidden = model.forward_head(features, pre_logits=True)
    assert logits.shape == (2, 7)
    assert features.shape[1] == model.num_features
    assert hidden.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(hidden), logits)
    headless = timm.create_model(name, num_classes=0).eval()
    assert headless(images(name)).shape == (2, model.head_hidden_size)
    model.reset_classifier(3)
    assert model(images(name)).shape == (2, 3)
    model.reset_classifier(0)
    assert model(images(name)).shape == (2, model.head_hidden_size)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_network_starts_with_the_papers_weights(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            bound = math.sqrt(6 / (layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]))
        elif isinstance(layer, torch.nn.Linear):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        else:
            continue
        # uniform on [-bound, bound]: everything within it, and the variance bound^2 / 3
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.12)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", ["jal_mnist_cnn", "jal_cnn8"])
def test_pool_before_the_last_relu_of_a_stage_changes_no_bit(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10)
    twin = copy.deepcopy(model)
    for stage in twin.features:
        layers = dict(stage.named_children())
        last = [layer for layer in layers if layer.startswith("act")][-1]
        delattr(stage, last)
        pool = stage.pool
        del stage.pool
        stage.add_module(last, layers[last])
        stage.add_module("pool", pool)
        assert list(dict(stage.named_children()))[-2:] == [last, "pool"] != list(layers)[-2:]
    batch = images(name).bfloat16().float()
    for network in (model, twin):
        network(batch).square().sum().backward()
    assert torch.equal(model(batch), twin(batch))
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert ours.grad is not None
        assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", ["jal_digits_cnn", "jal_mnist_cnn"])
def test_grey_network_sees_the_same_in_an_rgb_copy_to_the_last_bit(name: str) -> None:
    model = timm.create_model(name, num_classes=10).eval()
    grey = images(name)
    with torch.no_grad():
        assert torch.equal(model(grey), model(grey.expand(-1, 3, -1, -1)))


def test_rgb_becomes_the_luma_of_pillow() -> None:
    colour = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    expected = torch.einsum("nchw,c->nhw", colour, weights)[:, None]
    torch.testing.assert_close(match_channels(colour, 1), expected)
    assert match_channels(colour, 3) is colour


def test_plain_network_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="too small for 3 pools"):
        timm.create_model("jal_cnn8", img_size=4)
    with pytest.raises(ValueError, match="flattens its map"):
        timm.create_model("jal_cnn8", global_pool="avg")


def test_networks_are_registered_by_import_jal_hf_which_itself_loads_no_timm() -> None:
    source = """
import sys
import jal_hf
assert "timm" not in sys.modules
import timm
assert timm.is_model("jal_cnn8")
assert "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], check=True)
