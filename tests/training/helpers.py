"""Small models and datasets made in code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from jal_hf.models import create_model

CLASSES, SIZE = 4, 16


class Examples(Dataset):  # type: ignore[type-arg]
    """Seeded random images with labels; -100 where `ignored` says."""

    def __init__(self, rows: int = 24, ignored: tuple[int, ...] = (), seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pixels = torch.randn(rows, 3, SIZE, SIZE, generator=generator)
        self.labels = torch.randint(0, CLASSES, (rows,), generator=generator)
        self.labels[list(ignored)] = -100

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            "pixel_values": self.pixels[index],
            "labels": self.labels[index],
            "index": torch.tensor(index),
        }


def timm_model() -> nn.Module:
    # No batch norm: its statistics depend on the micro-batch, which would hide what the tests look at.
    return create_model("test_vit", num_labels=CLASSES, image_size=SIZE)


def resnet_model() -> nn.Module:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=CLASSES
    )
    model = ResNetForImageClassification(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = True
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign,assignment]
    return model


def vit_model() -> nn.Module:
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=SIZE,
            patch_size=8,
            num_labels=CLASSES,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


MODELS: dict[str, Any] = {
    "timm": timm_model,
    "transformers-resnet": resnet_model,
    "transformers-vit": vit_model,
}
