"""The papers' networks under timm's names; importing this file puts them in timm's registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock

from jal_hf.ground.files import JsonObject
from jal_hf.models.cifar_resnet import CifarResNet
from jal_hf.models.plain_cnn import PlainCNN

__all__ = ["jal_cnn8", "jal_digits_cnn", "jal_mnist_cnn", "jal_resnet34_cifar"]

_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_CIFAR100_MEAN, _CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


def _cfg(
    channels: int, size: int, mean: tuple[float, ...], std: tuple[float, ...], **kwargs: Any
) -> JsonObject:
    return {
        "num_classes": 10,
        "input_size": (channels, size, size),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "mean": mean,
        "std": std,
        "classifier": "fc",
        "license": "apache-2.0",
        **kwargs,
    }


_FLAT = {"first_conv": "features.stage0.conv0", "fixed_input_size": True}

default_cfgs = generate_default_cfgs(
    {
        "jal_digits_cnn.untrained": _cfg(1, 8, (0.5,), (0.5,), **_FLAT),
        "jal_mnist_cnn.untrained": _cfg(1, 28, (0.1307,), (0.3081,), **_FLAT),
        "jal_cnn8.untrained": _cfg(3, 32, _CIFAR10_MEAN, _CIFAR10_STD, **_FLAT),
        "jal_resnet34_cifar.untrained": _cfg(
            3, 32, _CIFAR100_MEAN, _CIFAR100_STD, num_classes=100, first_conv="conv1", pool_size=(4, 4)
        ),
    }
)


@register_model
def jal_digits_cnn(pretrained: bool = False, **kwargs: Any) -> PlainCNN:
    """conv 32, 32, pool, 64, pool, fc 128 for the 8x8 grey digits of scikit-learn; 64 thousand parameters."""
    return _plain("jal_digits_cnn", pretrained, {"stages": ((32, 32), (64,)), "hidden": 128, **kwargs})


@register_model
def jal_mnist_cnn(pretrained: bool = False, **kwargs: Any) -> PlainCNN:
    """conv 32, pool, 64, pool, fc 128 for 28x28 grey images: the MNIST network of ALFs (Zhou et al.,
    2021).
    """
    return _plain("jal_mnist_cnn", pretrained, {"stages": ((32,), (64,)), "hidden": 128, **kwargs})


@register_model
def jal_cnn8(pretrained: bool = False, **kwargs: Any) -> PlainCNN:
    """conv 64, 64, pool, 128, 128, pool, 196, 196, pool, fc 256: the CIFAR-10 network of APL, ALFs, ANL and
    JAL.

    1,639,794 parameters for 10 classes of 32x32 colour images.
    """
    return _plain(
        "jal_cnn8", pretrained, {"stages": ((64, 64), (128, 128), (196, 196)), "hidden": 256, **kwargs}
    )


@register_model
def jal_resnet34_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-34 with a 3x3 stride-1 stem and no max-pool: the CIFAR-100 network of the papers."""
    arguments = {"block": BasicBlock, "layers": (3, 4, 6, 3), **kwargs}
    network: CifarResNet = build_model_with_cfg(CifarResNet, "jal_resnet34_cifar", pretrained, **arguments)
    return network


def _plain(name: str, pretrained: bool, arguments: Mapping[str, Any]) -> PlainCNN:
    network: PlainCNN = build_model_with_cfg(PlainCNN, name, pretrained, **arguments)
    return network
