"""The L1 penalty on a model's parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def l1_penalty(model: nn.Module) -> Tensor:
    """Sum of |parameter| over all trainable parameters, batch-norm and biases included; a scalar.

    The subgradient of an element is its sign, so a sharded parameter (a DTensor under FSDP2) is penalised through
    its local shard alone and nothing is gathered. The value is then the local share of the penalty.
    """
    parts = [
        (parameter.to_local() if hasattr(parameter, "to_local") else parameter).abs().sum()
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    return torch.stack(parts).sum()
