"""The evaluation of a Trainer: raw datasets too, every row once, the same figures on any number of processes."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from jal_hf.training.evaluation import check_rows, check_streams, exact_figures, mean_of_parts, share_buffers
from jal_hf.training.inputs import RawImages
from jal_hf.training.loaders import collating_ready_batches, dropping_last, ending_workers
from jal_hf.training.methods import Method
from jal_hf.training.methods.batch import Batch
from jal_hf.training.outputs import as_mapping, giving_logits_first, main_input_name, model_outputs


class ExactEvaluation(Trainer):
    """The evaluating half of `RobustTrainer`."""

    args: Any
    model: Any
    criterion: Any
    method: Method
    raw_images: RawImages
    validation_dataset: Any
    has_own_loss: bool
    _aside: Batch
    _classes_last: bool | None
    _evaluated: list[Tensor]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """As the parent's, of raw datasets too, and of every row of them.

        The parent keeps one loader where workers persist, and gives it for any other dataset: here only in training.
        """
        is_other = eval_dataset is not None and not isinstance(eval_dataset, str)
        is_kept = self.is_in_train and not is_other
        ready = self._ready(eval_dataset)
        found = self.eval_dataset if ready is None else ready
        found = self.eval_dataset[found] if isinstance(found, str) else found
        with (
            dropping_last(self.args, False),
            nullcontext() if is_kept else ending_workers(self.args),
            collating_ready_batches(self, found),
        ):
            return super().get_eval_dataloader(ready)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        """As the parent's, of raw datasets too, and of every row of them."""
        ready = self._ready(test_dataset)
        with dropping_last(self.args, False), ending_workers(self.args), collating_ready_batches(self, ready):
            return super().get_test_dataloader(ready)

    def _ready(self, dataset: Any) -> Any:
        check_streams(self.args, dataset)
        return dataset if isinstance(dataset, str) else self.raw_images.ready(dataset, train=False)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        """As the parent's, with the logits before what else the model gives.

        The parent hands rows without labels to the model with all their fields, and keeps inputs for metrics by a name
        that a plain module does not tell.
        """
        if "inputs" in self.args.include_for_metrics and not hasattr(self.model, "main_input_name"):
            self.model.main_input_name = main_input_name(inputs)
        if "labels" not in inputs:
            unlabelled: Any = partial(self._outputs, model)
            return super().prediction_step(unlabelled, inputs, prediction_loss_only, ignore_keys)
        try:
            with giving_logits_first(model) if self.has_own_loss else nullcontext():
                return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        finally:
            self._aside = {}

    def _outputs(self, model: nn.Module, /, **inputs: Any) -> Any:
        return as_mapping(model_outputs(model, inputs, self.args.channels_last))

    def _begin_evaluation(self) -> None:
        """Until our `compute_loss` tells the logits' layout, it is not known whether it gives the loss at all."""
        self._classes_last, self._evaluated = None, []

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As the parent's, the same on any number of processes: equal buffers, each row once, exact mean loss."""
        self._begin_evaluation()
        with self.method.evaluated(self.accelerator.unwrap_model(self.model)):
            if self.args.world_size > 1:
                share_buffers(self.model)
            output = super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        # What preprocess_logits_for_metrics left is no logits any more, and need not be one a row.
        is_processed = self.preprocess_logits_for_metrics is not None
        check_rows(output, dataloader.dataset, is_processed)
        if self._classes_last is not None:
            if f"{metric_key_prefix}_loss" in output.metrics:
                output.metrics[f"{metric_key_prefix}_loss"] = mean_of_parts(
                    self._evaluated, self.accelerator.gather
                )
            if not is_processed:
                output = exact_figures(output, self.criterion, metric_key_prefix, self._classes_last)
        # The parent and its callbacks look for the best model's metric under a name that begins with eval_.
        best_by = (self.args.metric_for_best_model or "").removeprefix("eval_")
        if metric_key_prefix == "validation" and best_by in output.metrics:
            output.metrics[f"eval_{best_by}"] = output.metrics[best_by]
        return output

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """As the parent's; where there is a validation split and no other dataset is asked for, that one too."""
        if (
            eval_dataset is None
            and self.eval_dataset is self.validation_dataset
            and metric_key_prefix == "eval"
        ):
            metric_key_prefix = "validation"
        metrics = dict(super().evaluate(eval_dataset, ignore_keys, metric_key_prefix))
        if eval_dataset is None and self.validation_dataset is not None and metric_key_prefix == "eval":
            metrics |= super().evaluate(self.validation_dataset, ignore_keys, "validation")
        return metrics
