"""Which decay of a training was asked for, so that a preset's never comes in its place."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

from transformers import TrainingArguments

DECAYS = ("weight_decay", "l1_weight_decay")
_Arguments = TypeVar("_Arguments", bound="DecayArguments")


class NotAsked(float):
    """A decay of 0 that nobody has asked for, in whose place a preset's may come; replaced arguments keep it."""


class DecayArguments(TrainingArguments):
    """The part of `JALTrainingArguments` that knows which decay nobody has asked for."""

    weight_decay: float | None

    def set_optimizer(self: _Arguments, *arguments: Any, **options: Any) -> _Arguments:
        """As the parent's; a decay that is left out stays as it was."""
        return self._keeping_decay(super().set_optimizer, arguments, options)

    def set_training(self: _Arguments, *arguments: Any, **options: Any) -> _Arguments:
        """As the parent's; a decay that is left out stays as it was."""
        return self._keeping_decay(super().set_training, arguments, options)

    def _keeping_decay(
        self: _Arguments, change: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> _Arguments:
        before = self.weight_decay
        change(*arguments, **options)
        if "weight_decay" not in signature(change).bind(*arguments, **options).arguments:
            self.weight_decay = before
        return self

    @property
    def has_own_decay(self) -> bool:
        """Whether a decay was asked for, of either kind and at any time, so that no preset's comes in its place."""
        return len(self.unasked_decays) < len(DECAYS)

    @property
    def unasked_decays(self) -> tuple[str, ...]:
        """The fields of decays that nobody has asked for."""
        return tuple(name for name in DECAYS if isinstance(getattr(self, name), NotAsked))
