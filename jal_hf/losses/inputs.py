"""Brings logits, targets and weights into one flat form, and refuses what does not fit."""

from __future__ import annotations

import torch
from torch import Tensor


def flatten_logits(logits: Tensor) -> Tensor:
    """Logits (N, K) or (N, K, d1, ...) as rows (M, K).

    Raises:
        TypeError: logits are not floating point.
        ValueError: fewer than two axes, or fewer than two classes.
    """
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
        TypeError: class indices that are not integers.
        ValueError: a shape that fits neither form.
    """
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

    On an accelerator the check would wait for the device at every step, and while compiling it would break
    the graph; there the indexing kernel itself rejects a label outside [0, K).

    Raises:
        ValueError: a label that is neither in [0, K) nor `ignore_index`.
    """
    if not labels.is_cpu or torch.compiler.is_compiling() or not len(labels):
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


def flatten_sample_weight(sample_weight: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
    """Sample weights of the target's shape (or one per batch row) as (M,), in the dtype of the losses.

    Raises:
        ValueError: a shape that fits neither.
    """
    weight = sample_weight.to(device=like.device, dtype=like.dtype)
    if weight.shape != shape:
        if weight.dim() != 1 or weight.shape[0] != shape[0]:
            raise ValueError(
                f"sample_weight must have the target's shape {tuple(shape)} or ({shape[0]},), "
                f"but {tuple(sample_weight.shape)} was given."
            )
        weight = weight.reshape(-1, *([1] * (len(shape) - 1))).expand(shape)
    return weight.reshape(-1)
