"""The L1 penalty on a model's parameters: its value beside the loss, its slope beside the gradient."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# The multi-tensor operators of torch carry a leading underscore but are documented; they take one launch for many
# tensors, where autograd's own graph of the penalty takes six for each.


@torch.no_grad()
def l1_penalty(model: nn.Module) -> Tensor:
    """Sum of |parameter| over all trainable parameters, batch-norm and biases included; a scalar without gradient.

    A sharded parameter (a DTensor under FSDP2) counts through its local shard alone and nothing is gathered: the
    value is then the local share of the penalty.
    """
    shards = [local(parameter) for parameter in model.parameters() if parameter.requires_grad]
    return torch.stack(torch._foreach_norm(shards, 1)).sum()


def differentiable_l1_penalty(model: nn.Module) -> Tensor:
    """The same with its gradient, for engines that step within the backward pass, as DeepSpeed does."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()


@torch.no_grad()
def add_l1_gradient(parameters: Iterable[nn.Parameter], factor: float | Tensor) -> None:
    """Add `factor` times the subgradient of `l1_penalty`, the sign, to the gradients there are.

    Args:
        factor: The decay; a scalar tensor where it is known on the device alone, such as under a loss scale.
    """
    penalised = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in penalised:
        if parameter.grad is None:  # outside of this step's graph, and decayed all the same
            parameter.grad = torch.zeros_like(parameter)
        elif parameter.grad.is_sparse:  # whose rows are those of the batch alone, while all decay
            parameter.grad = parameter.grad.to_dense()
    if not penalised:
        return
    signs = torch._foreach_sign([local(parameter) for parameter in penalised])
    gradients = [local(parameter.grad) for parameter in penalised if parameter.grad is not None]
    if isinstance(factor, Tensor):
        torch._foreach_mul_(signs, factor)
        torch._foreach_add_(gradients, signs)
    else:
        torch._foreach_add_(gradients, signs, alpha=factor)


def local(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor, or the tensor where it is whole."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
