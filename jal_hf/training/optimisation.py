"""The optimisation of a Trainer as the papers do it: decay on all parameters, schedules by epoch, few operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import has_length

from jal_hf.models import parameter_groups
from jal_hf.training.schedules import epoch_lengths, epoch_scheduler


class PapersOptimisation(Trainer):
    """The optimizing half of `RobustTrainer`."""

    args: Any
    model: Any
    _batches: int | None = None
    """Micro-batches of an epoch, or None for a stream."""
    _is_counted: bool = False

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All parameters, as the papers decay them, unless `decay_all_parameters` is off."""
        if self.args.decay_all_parameters:
            return [name for name, _ in model.named_parameters()]
        return list(super().get_decay_parameter_names(model))

    def create_optimizer(self, *arguments: Any, **options: Any) -> torch.optim.Optimizer:
        """As the parent's; torch's own optimizers step all tensors at once, SGD in one operator.

        Not so one that was given, and not for layers of sparse gradients, which no fused operator takes.
        """
        is_there = getattr(self, "optimizer", None) is not None
        has_rates = self.args.layer_decay < 1.0 or self.args.head_learning_rate is not None
        if has_rates and not is_there:
            given = self.optimizer_cls_and_kwargs
            kind, settings = given or self.get_optimizer_cls_and_kwargs(self.args, self.model)
            groups = parameter_groups(
                self.model,
                learning_rate=settings.get("lr", self.args.learning_rate),
                weight_decay=float(self.args.weight_decay or 0.0),
                layer_decay=self.args.layer_decay,
                head_learning_rate=self.args.head_learning_rate,
            )
            self.optimizer = kind(groups, **settings)
        optimizer: torch.optim.Optimizer = super().create_optimizer(*arguments, **options)
        is_kept = is_there or self.is_fsdp_enabled or has_sparse_gradients(self.model)
        for group in optimizer.param_groups if not is_kept else []:
            # The same arithmetic in fewer operators; what was chosen stays.
            if "foreach" in group and group["foreach"] is None and not group.get("fused"):
                group["fused" if isinstance(optimizer, torch.optim.SGD) else "foreach"] = True
        return optimizer

    def set_initial_training_values(self, args: Any, dataloader: Any, *rest: Any) -> Any:
        """As the parent's; the loader that is trained from tells how long an epoch of the schedule is."""
        self._count_batches(dataloader)
        return super().set_initial_training_values(args, dataloader, *rest)

    def _count_batches(self, loader: Any) -> None:
        self._batches, self._is_counted = len(loader) if has_length(loader) else None, True

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """The parent's schedules, and those that step once an epoch."""
        if self.args.epoch_schedule is None or self.lr_scheduler is not None:  # type: ignore[has-type]
            return super().create_scheduler(num_training_steps, optimizer)
        if not self._is_counted:  # a scheduler made by hand, before any training
            self._count_batches(self.get_train_dataloader())
        steps_per_epoch, epochs = epoch_lengths(self.args, self._batches, num_training_steps)
        self.lr_scheduler = epoch_scheduler(
            optimizer if optimizer is not None else self.optimizer,
            self.args.epoch_schedule,
            steps_per_epoch,
            epochs,
            dict(self.args.lr_scheduler_kwargs or {}),
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler


def has_sparse_gradients(model: nn.Module) -> bool:
    """Whether a layer gives its gradient for the rows alone that a batch has looked up."""
    return any(
        isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.sparse for layer in model.modules()
    )
