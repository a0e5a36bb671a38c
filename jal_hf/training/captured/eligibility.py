"""Where a training step may be captured, and in one line why not elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback

from jal_hf.data.images.batch_datasets import ArrayImages
from jal_hf.models import RunTimmModel
from jal_hf.training.loaders import collate_batch

_GRADIENT_HOOKS = ("on_pre_optimizer_step", "on_optimizer_step", "on_substep_end")


def reason_against(trainer: Any) -> str | None:
    """Why this trainer's step stays eager, as the end of a sentence; None where it can be captured.

    A captured step has fixed shapes, reads no value back, and leaves no gradients behind.
    """
    args, model, images = trainer.args, trainer.model, trainer.train_dataset
    criterion = trainer.criterion
    found = {
        "several processes train it": args.world_size > 1 or args.n_gpu > 1,
        "DeepSpeed or FSDP runs the step": trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled,
        "fp16 scales its loss by what the last step was": args.fp16,
        "torch.compile builds its own graphs": args.torch_compile,
        "gradient checkpointing is on": args.gradient_checkpointing,
        f"the method {trainer.method.name!r} does not say that it can be captured": not trainer.method.capturable,
        f"the loss {criterion.name!r} draws anew every step": criterion.random,
        "the images are not kept in one array on the device": not isinstance(images, ArrayImages)
        or images.images.device.type != args.device.type,
        "the labels are no classes": isinstance(images, ArrayImages)
        and ("labels" not in images.columns or images.columns["labels"].is_floating_point()),
        "the data has its own collator": trainer.data_collator is not collate_batch,
        "the network is none of timm or of this package": not isinstance(model, RunTimmModel),
        "the network has hooks": model is not None and any(has_hooks(module) for module in model.modules()),
        "a subclass has its own compute_loss or training_step": not trainer.has_its_own_step,
        "a callback looks at the gradients": any(
            _looks_at_gradients(callback) for callback in trainer.callback_handler.callbacks
        ),
        "cached memory is emptied in its steps": args.torch_empty_cache_steps is not None,
        "input tokens are counted": args.include_num_input_tokens_seen not in (False, "no"),
    }
    return next((reason for reason, is_so in found.items() if is_so), None)


def optimizer_reason_against(optimizer: torch.optim.Optimizer) -> str | None:
    """The same of the optimizer, which is made after the data loader."""
    fused = all(group.get("fused") for group in optimizer.param_groups)
    if type(optimizer) in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW) and fused:
        return None
    return f"the optimizer {type(optimizer).__name__} has no fused form here"


def has_hooks(module: torch.nn.Module) -> bool:
    """Whether Python of somebody else runs with this module."""
    forward = module._forward_hooks or module._forward_pre_hooks
    return bool(forward or module._backward_hooks or module._backward_pre_hooks)


def _looks_at_gradients(callback: TrainerCallback) -> bool:
    own = type(callback).__module__.partition(".")[0] in ("jal_hf", "transformers")
    return not own and any(
        getattr(type(callback), name) is not getattr(TrainerCallback, name) for name in _GRADIENT_HOOKS
    )
