"""Checkpoints of a Trainer that are known as ours from their first moment, and that load whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer
from transformers.trainer_utils import has_length

from jal_hf.models import savable_weights
from jal_hf.training.checkpoint_weights import check_loaded, converted_weights
from jal_hf.training.checkpoints import begin_checkpoint, is_checkpoint_of
from jal_hf.training.epochs import place_in_stream


class WholeCheckpoints(Trainer):
    """The saving and loading part of `RobustTrainer`."""

    args: Any
    model: Any
    train_dataset: Any

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent's; a checkpoint's folder says from its first moment on that it is ours."""
        if output_dir and is_checkpoint_of(Path(output_dir), Path(self.args.output_dir)):
            if self.args.should_save:
                begin_checkpoint(Path(output_dir))
            # No other process may put its part there before.
            self.accelerator.wait_for_everyone()
        super().save_model(output_dir, _internal_call)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """As the parent's, which passes over weights that are saved under other names than the model's own."""
        if not self._load_converted(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _init_training_state(
        self,
        max_steps: int,
        steps_per_epoch: int,
        epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """As the parent's; no public method says where a resumed run goes on.

        The parent knows the best checkpoint by its path alone and forgets it where the folder was moved, and it takes
        all steps over a stream for one pass.
        """
        done: tuple[int, int] = super()._init_training_state(
            max_steps, steps_per_epoch, epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is None:
            return done
        checkpoint = Path(resume_from_checkpoint)
        known, step = self.state.best_model_checkpoint, self.state.best_global_step
        beside = checkpoint.with_name(f"checkpoint-{step}")
        if step and not (known and Path(known).is_dir()) and beside.is_dir():
            self.state.best_model_checkpoint = str(beside)
        if has_length(self.train_dataset):
            return done
        passes, batches = place_in_stream(checkpoint, self.args.gradient_accumulation_steps)
        return passes, 0 if self.args.ignore_data_skip else batches

    def _load_best_model(self) -> None:
        """As the parent's, of weights under other names too."""
        if not self._load_converted(str(self.state.best_model_checkpoint)):
            super()._load_best_model()

    def _load_converted(self, checkpoint: str) -> bool:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # which save and load in forms of their own
            return False
        weights = converted_weights(self.model, Path(checkpoint))
        if weights is not None:
            self.model.load_state_dict(weights)
        return weights is not None

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """As the parent's, which only warns of a checkpoint of another network."""
        check_loaded(self.model, load_result.missing_keys, load_result.unexpected_keys)
        if hasattr(self.model, "_keys_to_ignore_on_save"):  # which the parent looks for in plain modules, too
            super()._issue_warnings_after_load(load_result)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """As the parent's, which fails on the weights of a plain module in the channels_last layout or tied."""
        if not isinstance(self.accelerator.unwrap_model(self.model), PreTrainedModel):
            state_dict = savable_weights(self.model.state_dict() if state_dict is None else state_dict)
        super()._save(output_dir, state_dict)
