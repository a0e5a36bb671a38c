"""ResNet for images of 32 pixels."""

from __future__ import annotations

from typing import Any

from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from jal_hf.models.channels import match_channels
from jal_hf.models.initialization import initialize_as_papers


class CifarResNet(ResNet):
    """timm's ResNet with a 3x3 stride-1 stem and no max-pool, so a 32x32 image enters the first stage at
    32x32.

    Shape: (N, in_chans, H, W) -> (N, K).
    """

    def __init__(
        self, block: type[BasicBlock], layers: tuple[int, ...], in_chans: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(block, layers, in_chans=in_chans, zero_init_last=False, **kwargs)  # type: ignore[arg-type]
        self.in_chans = in_chans
        self.add_module("conv1", nn.Conv2d(in_chans, 64, 3, stride=1, padding=1, bias=False))
        self.add_module("maxpool", nn.Identity())
        self.feature_info = [
            {**info, "reduction": max(1, int(str(info["reduction"])) // 4)} for info in self.feature_info
        ]
        initialize_as_papers(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 512, H / 8, W / 8)."""
        features: Tensor = super().forward_features(match_channels(x, self.in_chans))
        return features
