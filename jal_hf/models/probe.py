"""Does an image of this size pass through the network at all?"""

from __future__ import annotations

import torch
from torch import nn


def check_image_size(network: nn.Module, input_size: tuple[int, int, int], name: str) -> None:
    """Send one blank image through, so that a size the network cannot take is refused before training.

    Args:
        network: a timm network; left in the mode it was in.
        input_size: (C, H, W) in pixels.
        name: of the network, for the message.

    Raises:
        ValueError: when the network fails on it.
    """
    parameter = next(network.parameters())
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype))
    except (RuntimeError, AssertionError, ValueError) as error:
        channels, height, width = input_size
        raise ValueError(
            f"{name!r} cannot take images of {height}x{width} with {channels} channels: {error}. "
            "Choose another image_size, or a network made for such images."
        ) from error
    finally:
        network.train(was_training)
