"""From a model's outputs to a robust loss: class axis, plug for the stock `Trainer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import TokenClassifierOutput

from jal_hf.losses import RobustLoss, loss_preset, resolve_loss
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.json_parameters import parse_json_object


@dataclass(frozen=True)
class LossChoice:
    """The loss that is trained, and the decay that comes with it."""

    criterion: RobustLoss
    weight_decay: float
    l1_weight_decay: float


def decide_loss(
    loss: RobustLoss | str | None,
    args: JALTrainingArguments,
    *,
    num_classes: int | None = None,
    noise: Any = None,
) -> LossChoice:
    """The loss and the decay of a training, from an object, a name, or the arguments; see `resolve_loss`.

    Args:
        loss: An object is taken as it is; a name takes the place of `args.loss`.
        args: `preset` brings parameters, and decay where none was given; `loss_args` win. Nothing in it is changed.
        num_classes: K, for preset 'auto'.
        noise: What preset 'auto' knows of the noise: a rate of symmetric noise, a transition matrix, or an object.

    Raises:
        ValueError: A loss object beside arguments that speak of another, or an unknown loss, preset or parameter.
        TypeError: Neither a loss nor a name.
    """
    chosen = args.loss if loss is None else loss
    given = parse_json_object("loss_args", args.loss_args)
    criterion = resolve_loss(
        chosen,
        preset=args.preset,
        params=given,
        num_classes=num_classes if args.preset == "auto" else None,
        noise=noise,
    )
    decay = (float(args.weight_decay or 0.0), float(args.l1_weight_decay or 0.0))
    if args.preset not in (None, "auto") and not args.has_own_decay:
        preset = loss_preset(criterion.name, args.preset)
        decay = (preset.weight_decay, preset.l1_weight_decay)
    return LossChoice(criterion, *decay)


def logits_of(outputs: Any) -> Tensor:
    """The logits in what a model returned: a tensor, a mapping or object with `logits`, or a tuple.

    Of a tuple they are the first tensor that has an axis of classes: before them may stand a loss, or the None that
    models of transformers give in its place where they get no labels.

    Raises:
        ValueError: Nothing that was returned can be logits.
    """
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        if "logits" not in outputs:
            raise ValueError(f"The model's output has no 'logits', only: {', '.join(map(str, outputs))}.")
        return outputs["logits"]  # type: ignore[no-any-return]
    if hasattr(outputs, "logits"):
        return outputs.logits  # type: ignore[no-any-return]
    given = outputs if isinstance(outputs, Sequence) else ()
    found = next((one for one in given if isinstance(one, Tensor) and one.dim() > 1), None)
    if found is None:
        raise ValueError(
            f"The model gave a {type(outputs).__name__} in which there are no logits (N, K); return them as a tensor, "
            "under 'logits' in a dict, or in a tuple."
        )
    return found


def gives_classes_last(outputs: Any) -> bool:
    """Whether a model's output holds token logits (N, T, K), as transformers' token classifiers give them."""
    return isinstance(outputs, TokenClassifierOutput)


def classes_second(logits: Tensor, labels: Tensor, classes_last: bool = False) -> Tensor:
    """Put the class axis where the losses expect it, (N, K, d1, ...).

    transformers' token classifiers give (N, T, K) for labels (N, T), and some of its segmenters a map coarser than
    the labels' (N, H, W), which is scaled up as their own losses do; every other layout is already right.

    Args:
        classes_last: Decides where K = T and the shape fits both layouts.
    """
    if labels.is_floating_point():
        return logits
    if labels.dim() == 2 and logits.dim() == 3 and logits.shape[:2] == labels.shape:
        is_square = logits.shape[2] == labels.shape[1]
        return logits.transpose(1, 2) if classes_last or not is_square else logits
    if labels.dim() == 3 and logits.dim() == 4 and logits.shape[2:] != labels.shape[1:]:
        return functional.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
    return logits


def as_compute_loss_func(loss: RobustLoss | str) -> Callable[..., Tensor]:
    """Plug a robust loss into the stock `transformers.Trainer`.

    The returned function divides the summed loss by `num_items_in_batch`, which the Trainer counts over all
    accumulation steps and devices, so the gradient doesn't depend on how the batch is split. Labels may be classes,
    or class probabilities of the logits' shape. A loss that draws does so anew at each step, from torch's generator,
    which the Trainer's checkpoints hold.

    Args:
        loss: Loss object or registry name; its reduction is ignored, the mean is always taken.

    Raises:
        ValueError: The loss has class weights or skips another label than -100. The stock Trainer counts labels
            other than -100 with weight one; `JALTrainer` counts as the loss does.

    Example:
        >>> from jal_hf import as_compute_loss_func
        >>> compute_loss_func = as_compute_loss_func("jal-ce")
    """
    criterion = resolve_loss(loss)
    if getattr(criterion, "weight", None) is not None:
        raise ValueError("The stock Trainer cannot average a loss with class weights; use JALTrainer for it.")
    if criterion.ignore_index != -100:
        raise ValueError(
            f"The stock Trainer counts labels other than -100, but the loss ignores {criterion.ignore_index}; "
            "use JALTrainer, or ignore_index=-100."
        )

    def compute_loss(
        outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        if labels is None:
            raise ValueError(
                "The batch has no 'labels', so no loss can be computed; check the data collator."
            )
        logits = classes_second(logits_of(outputs), labels, gives_classes_last(outputs))
        total, count = criterion.sum_and_weight(logits, labels)
        if num_items_in_batch is None:
            return total / at_least_one(count)
        # Of class probabilities the Trainer counts every entry, K for each label.
        entries = logits.shape[1] if labels.is_floating_point() else 1
        return total / at_least_one(num_items_in_batch) * entries

    return compute_loss


def label_count(loss: RobustLoss, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """What a mean of this loss over these labels divides by, without the logits: the sum of the rows' weights."""
    if labels.is_floating_point():
        weights = torch.ones(labels.shape[:1] + labels.shape[2:], device=labels.device)
    else:
        weights = labels != loss.ignore_index
        if loss.weight is not None:
            weights = weights * loss.weight.to(labels.device)[labels.clamp(0, len(loss.weight) - 1)]
    if sample_weight is not None:
        weights = weights * sample_weight.reshape(
            sample_weight.shape + (1,) * (weights.dim() - sample_weight.dim())
        )
    return weights.sum(dtype=torch.float32)


def at_least_one(count: Tensor | int | float) -> Tensor | float:
    """A batch without any counted label has total 0; dividing by 1 keeps it 0 instead of NaN."""
    if isinstance(count, Tensor):
        return torch.where(count == 0, 1.0, count)
    return float(count) if count else 1.0
