"""The plain convolutional network behind the papers' MNIST and CIFAR-10 tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jal_hf.models.channels import match_channels
from jal_hf.models.initialization import initialize_as_papers


class PlainCNN(nn.Module):
    """Stages of 3x3 convolutions, each followed by batch-norm and ReLU; a 2x2 max-pool ends a stage; one
    hidden layer.

    It answers timm's model interface: `forward_features`, `forward_head(x, pre_logits)`, `get_classifier`,
    `reset_classifier`, `num_classes=0` for features.

    Args:
        stages: output channels of the convolutions, one tuple a stage.
        hidden: width of the fully connected layer before the classifier.
        num_classes: K; 0 leaves the hidden features as output.
        in_chans: channels of the input.
        img_size: height and width of the input in pixels; fixed, the hidden layer sees the flattened map.
        global_pool: accepted for timm's sake; only the empty string, as nothing is pooled globally.
        drop_rate: dropout before the classifier.

    Shape: (N, in_chans, H, W) -> (N, K).

    Raises:
        ValueError: when an image is too small for the pools, or a global pool is asked for.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        hidden: int,
        num_classes: int = 10,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 32,
        global_pool: str = "",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        _refuse_global_pool(global_pool)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        rows, columns = height >> len(stages), width >> len(stages)
        if rows < 1 or columns < 1:
            raise ValueError(
                f"Images of {height}x{width} are too small for {len(stages)} pools: "
                f"each side must be at least {2 ** len(stages)}."
            )
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.img_size = (height, width)
        self.num_features, self.head_hidden_size = stages[-1][-1], hidden
        self.feature_info: list[dict[str, object]] = []
        self.features = nn.Sequential()
        channels = in_chans
        for number, stage in enumerate(stages):
            block = nn.Sequential()
            for position, out in enumerate(stage):
                block.add_module(f"conv{position}", nn.Conv2d(channels, out, 3, padding=1))
                block.add_module(f"bn{position}", nn.BatchNorm2d(out))
                if position == len(stage) - 1:
                    # Before the ReLU, which leaves the same maxima and gradients and sees a quarter of the map.
                    block.add_module("pool", nn.MaxPool2d(2))
                block.add_module(f"act{position}", nn.ReLU(inplace=True))
                channels = out
            self.features.add_module(f"stage{number}", block)
            self.feature_info.append(
                {"num_chs": channels, "reduction": 2 ** (number + 1), "module": f"features.stage{number}"}
            )
        self.hidden = nn.Sequential()
        self.hidden.add_module("fc", nn.Linear(channels * rows * columns, hidden))
        self.hidden.add_module("bn", nn.BatchNorm1d(hidden))
        self.hidden.add_module("act", nn.ReLU(inplace=True))
        self.head_drop = nn.Dropout(drop_rate)
        self.fc = self._classifier(num_classes)
        initialize_as_papers(self)

    def _classifier(self, num_classes: int) -> nn.Module:
        return nn.Linear(self.head_hidden_size, num_classes) if num_classes > 0 else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a fresh one for `num_classes` classes; 0 removes it."""
        _refuse_global_pool(global_pool or "")
        device = self.features[0][0].weight.device  # type: ignore[index]
        self.num_classes = num_classes
        self.fc = self._classifier(num_classes).to(device)
        initialize_as_papers(self.fc)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_features, H / 2^stages, W / 2^stages)."""
        features: Tensor = self.features(match_channels(x, self.in_chans))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map of `forward_features` -> logits (N, K), or the hidden features (N, head_hidden_size)."""
        x = self.hidden(torch.flatten(x, 1))
        x = self.head_drop(x)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K)."""
        return self.forward_head(self.forward_features(x))


def _refuse_global_pool(global_pool: str) -> None:
    if global_pool:
        raise ValueError(
            f"global_pool={global_pool!r} does not fit: this network flattens its map. Leave global_pool out."
        )
