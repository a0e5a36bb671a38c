"""Grey networks that also accept an RGB image."""

from __future__ import annotations

from torch import Tensor

# ITU-R 601-2 luma, the transform behind PIL's `convert("L")`
_GREEN, _BLUE = 0.587, 0.114


def match_channels(images: Tensor, in_chans: int) -> Tensor:
    """Turn RGB into grey for a network of one input channel; pass everything else through.

    `pipeline("image-classification")` opens every image as RGB, a grey one included, and normalises the three
    equal channels alike. Written as red plus differences, three equal channels give back the very same bits.

    Args:
        images: normalised images, the same mean and std in every channel.
        in_chans: channels the network was built for.

    Shape: (N, C, H, W) -> (N, in_chans, H, W).
    """
    if in_chans != 1 or images.shape[1] != 3:
        return images
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return red + _GREEN * (green - red) + _BLUE * (blue - red)
