"""Initial weights as in the papers' protocols."""

from __future__ import annotations

from torch import nn


def initialize_as_papers(module: nn.Module) -> None:
    """Kaiming-uniform (fan in) for convolutions, Xavier-uniform for linear layers, zero biases.

    Batch-norm keeps torch's own ones and zeros. Source: the protocol of ALFs (Zhou et al., 2021), ANL (Ye et
    al., 2023) and JAL, whose CIFAR and MNIST tables share it. The protocol says nothing of biases; the authors' code
    leaves torch's small uniform draws, which only the last layer would notice, as batch-norm removes the others.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
