"""The L1 penalty on a model's parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def l1_penalty(model: nn.Module) -> Tensor:
    """Sum of |parameter| over all trainable parameters, batch-norm and biases included; a scalar.

    The subgradient of an element is its sign, so a sharded parameter (a DTensor under FSDP2) is penalised through
    its local shard alone and nothing is gathered. The value is then the local share of the penalty.
    """
    return _SumOfMagnitudes.apply(  # type: ignore[no-any-return]
        *(
            parameter.to_local() if hasattr(parameter, "to_local") else parameter
            for parameter in model.parameters()
            if parameter.requires_grad
        )
    )


class _SumOfMagnitudes(torch.autograd.Function):
    """Two kernels a tensor and a few over all, where autograd's own graph takes six for each of them."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return torch.stack([tensor.abs().sum() for tensor in tensors]).sum()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        signs = torch._foreach_sign(ctx.saved_tensors)
        torch._foreach_mul_(signs, gradient)
        return tuple(signs)
