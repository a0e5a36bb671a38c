"""Brings logits, targets and weights into one flat form, and refuses what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

_NOTHING = nullcontext()


def is_traced() -> bool:
    """Whether torch.compile or torch.func (grad, vmap, ...) looks on: plain operators alone, and no value is read."""
    return torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None


def may_be_several(gradient: Tensor) -> bool:
    """Whether an incoming gradient may stand for several at once, which nothing of one's size can take in place."""
    return is_traced() or torch._C._functorch.is_legacy_batchedtensor(gradient)


def require_tensor(name: str, value: object) -> None:
    """Raise TypeError unless the value is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a tensor, but {type(value).__name__} was given; torch.as_tensor makes one of it."
        )


def flatten_logits(logits: Tensor) -> Tensor:
    """Logits (N, K) or (N, K, d1, ...) as rows (M, K).

    Raises:
        TypeError: logits are no tensor, or not floating point.
        ValueError: fewer than two axes, or fewer than two classes.
    """
    require_tensor("logits", logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, but {logits.dtype} was given.")
    if logits.dim() < 2 or logits.shape[1] < 2:
        raise ValueError(
            "logits must have shape (N, K) or (N, K, d1, ...) with K of at least 2 classes, "
            f"but {tuple(logits.shape)} was given."
        )
    if logits.dim() > 2:
        logits = logits.movedim(1, -1).reshape(-1, logits.shape[1])
    return logits


def in_full_precision(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def is_soft(logits: Tensor, target: Tensor) -> bool:
    """Whether the target holds class probabilities; checks its shape against the logits on the way.

    Raises:
        TypeError: no tensor, or class indices that are not integers.
        ValueError: a shape that fits neither form.
    """
    require_tensor("target", target)
    if target.is_floating_point():
        if target.shape != logits.shape:
            raise ValueError(
                f"a floating-point target holds class probabilities and needs the logits' shape "
                f"{tuple(logits.shape)}, but {tuple(target.shape)} was given; class indices must be int64."
            )
        return True
    if target.dtype is torch.bool or target.is_complex():
        raise TypeError(f"target must hold class indices (int64), but {target.dtype} was given.")
    if target.dim() != logits.dim() - 1 or (
        target.shape[0] != logits.shape[0] or target.shape[1:] != logits.shape[2:]
    ):
        expected = (logits.shape[0], *logits.shape[2:])
        raise ValueError(
            f"target must have shape {tuple(expected)} for logits of shape {tuple(logits.shape)}, "
            f"but {tuple(target.shape)} was given."
        )
    return False


def as_labels(target: Tensor) -> Tensor:
    """Class indices of any shape and integer type as int64 (M,)."""
    return target if target.dim() == 1 and target.dtype is torch.int64 else target.flatten().long()


def all_labels_valid(labels: Tensor, num_classes: int, ignore_index: int) -> bool:
    """Checks labels on the CPU; True when no row is ignored, so that the mask can be left out.

    On an accelerator the check would wait for the device at every step, and a traced label cannot be read; there
    the indexing kernel itself rejects a label outside [0, K).

    Raises:
        ValueError: a label that is neither in [0, K) nor `ignore_index`.
    """
    if not labels.is_cpu or is_traced() or not len(labels):
        return False
    lowest, highest = (int(bound.tolist()) for bound in torch.aminmax(labels))  # type: ignore[call-overload]
    if lowest >= 0 and highest < num_classes:
        return not lowest <= ignore_index <= highest
    wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    if bool(wrong.any()):
        rows = wrong.nonzero().flatten().tolist()
        shown = ", ".join(str(row) for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
        raise ValueError(
            f"labels must lie in [0, {num_classes}) or equal ignore_index={ignore_index}, but the label "
            f"{int(labels[rows[0]])} was given ({len(rows)} such rows: {shown})."
        )
    return False


def check_class_probabilities(target: Tensor, sample_weight: Tensor | None, logits: Tensor) -> None:
    """Checks rows (M, K) of class probabilities on the CPU; a row of zeros may stand where its weight is 0.

    Raises:
        ValueError: an entry below 0, or a row that sums to anything but 1.
    """
    if not target.is_cpu or is_traced() or not len(target):
        return
    values = in_full_precision(target.detach())
    sums = values.sum(1)
    near = (sums - 1.0).abs() <= (1e-3 if target.dtype.itemsize > 2 else 2e-2)
    wrong = ~(near & (values.amin(1) >= 0.0))
    if bool(wrong.any()) and sample_weight is not None:
        shape = torch.Size((logits.shape[0], *logits.shape[2:]))
        wrong &= flatten_sample_weight(sample_weight, shape, values) != 0.0
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"class probabilities must be at least 0 and sum to 1 over the classes, but row {row} sums to "
            f"{float(sums[row]):.6g} (its least entry is {float(values[row].min()):.6g}; {int(wrong.sum())} such "
            "rows). Give a row without a label the sample_weight 0."
        )


def flatten_sample_weight(sample_weight: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
    """Sample weights of the target's shape (or one per batch row) as (M,), in the dtype of the losses.

    Raises:
        TypeError: no tensor.
        ValueError: a shape that fits neither.
    """
    require_tensor("sample_weight", sample_weight)
    weight = sample_weight.to(device=like.device, dtype=like.dtype)
    if weight.shape != shape:
        if weight.dim() != 1 or weight.shape[0] != shape[0]:
            raise ValueError(
                f"sample_weight must have the target's shape {tuple(shape)} or ({shape[0]},), "
                f"but {tuple(sample_weight.shape)} was given."
            )
        weight = weight.reshape(-1, *([1] * (len(shape) - 1))).expand(shape)
    return weight.reshape(-1)


def as_class_weight(weight: Tensor | Sequence[float], loss: str) -> Tensor:
    """Weights of K classes as a tensor (K,) of its own, with its numbers where a network is built without any.

    Raises:
        ValueError: not one finite number of at least 0 for each class, or a tensor without numbers.
    """
    if isinstance(weight, Tensor):
        if weight.is_meta:
            raise ValueError(
                f"{loss}: weight is a tensor on the meta device, which holds no numbers; give a list of numbers."
            )
        values = weight.detach().clone().to(torch.get_default_dtype())
    else:
        values = torch.as_tensor(weight, dtype=torch.get_default_dtype(), device="cpu").clone()
        place = torch.empty(0).device
        # As `from_pretrained` builds networks: nothing would bring the numbers back.
        values = values if place.type == "meta" else values.to(place)
    if values.dim() != 1 or not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
        raise ValueError(
            f"{loss}: weight must be a list of K finite numbers of at least 0, one per class, "
            f"but a tensor of shape {tuple(values.shape)} was given."
        )
    return values


def autocast_off(logits: Tensor) -> AbstractContextManager[object]:
    if logits.is_meta:
        return _NOTHING
    device = "cpu" if logits.is_cpu else logits.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else _NOTHING


def at_least_something(normaliser: Tensor) -> Tensor:
    """The normaliser, or 1 where it is 0: a batch without counted rows then has a mean of 0, not NaN."""
    return torch.where(normaliser == 0, torch.ones_like(normaliser), normaliser)
