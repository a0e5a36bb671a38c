"""Early-learning regularisation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from jal_hf.losses import RobustLoss
from jal_hf.training.criterion import logits_of
from jal_hf.training.methods.averaging import AveragedWeights
from jal_hf.training.methods.batch import BATCH_EXTRAS, Batch
from jal_hf.training.methods.demands import (
    optional_within,
    require_choice,
    require_one_label_a_row,
    require_rows,
    require_within,
)
from jal_hf.training.methods.method import Method, Parameters
from jal_hf.training.methods.pull import place_of, pull
from jal_hf.training.methods.row_table import RowTable
from jal_hf.training.methods.step_view import Setting, StepView

_LEAST = 1e-4
_STRONGEST = 3.0


class Elr(Method):
    """Add lambda log(1 - <p_i, t_i>) to each row's loss, t_i what the network said of the row before.

    It keeps the gradient of rows that were learned early alive, and holds it against a label that contradicts them.

    Args:
        lambda_: Weight of the term. None follows the loss: 3 where it pulls at a wrong label as cross entropy does,
            in proportion less where it lets go by itself or is small (`jal-ce`: 0.27 with the CIFAR-10 preset, 0.02
            with that of MNIST).
        beta: Share of the old target that stays when a row is seen again; for `targets` rows.
        targets: `rows`, a running mean for each row of the training set; `teacher`, the prediction of the averaged
            network for the unmixed image, a third more time and no state by row; `auto`, the teacher's for streams
            and beside mixup and cutmix, else rows.
        teacher_decay: Of the averaged network.
        ramp: Share of the training over which lambda rises from 0.

    Reference:
        Liu et al. (2020), "Early-Learning Regularization Prevents Memorization of Noisy Labels", equation 7.

    Provenance:
        The paper takes lambda 3 with cross entropy on CIFAR-10; the rule for other losses is ours.
    """

    name = "elr"
    capturable = True  # type: ignore[assignment]

    def __init__(
        self,
        *,
        lambda_: float | None = None,
        beta: float = 0.7,
        targets: str = "auto",
        teacher_decay: float = 0.997,
        ramp: float = 0.2,
    ) -> None:
        self.lambda_ = optional_within("elr", "lambda", lambda_, 0.0, 100.0)
        self.beta = require_within("elr", "beta", beta, 0.0, 1.0)
        self.asked_targets = require_choice("elr", "targets", targets, ("auto", "rows", "teacher"))
        self.teacher_decay = require_within("elr", "teacher_decay", teacher_decay, 0.0, 0.999999)
        self.ramp = require_within("elr", "ramp", ramp, 0.0, 1.0)
        self.table: RowTable | None = None
        self.teacher: AveragedWeights | None = None
        self.strength: float | None = None
        self._prediction: Tensor | None = None

    @property
    def averages_weights(self) -> bool:  # type: ignore[override]
        return self.teacher is not None

    def parameters(self) -> Parameters:
        begun = self.table or self.teacher
        return {
            "lambda": self.strength if begun else self.lambda_,
            "beta": self.beta,
            "targets": ("teacher" if self.teacher else "rows") if begun else self.asked_targets,
            "teacher_decay": self.teacher_decay,
            "ramp": self.ramp,
        }

    def check(self, criterion: RobustLoss, *, is_stream: bool) -> None:
        keeps_rows = self.asked_targets == "rows"
        require_rows(
            self.name, is_stream and keeps_rows, "Give it targets 'teacher', which keeps nothing by row."
        )

    def begin(self, setting: Setting) -> None:
        super().begin(setting)
        self.strength = self.lambda_
        if setting.num_classes is not None:
            self._follow_loss(setting.num_classes)
        self.table = self.teacher = None
        if self.asked_targets == "teacher" or (self.asked_targets == "auto" and setting.rows is None):
            self.teacher = AveragedWeights(setting.model, self.teacher_decay)
        else:
            assert setting.rows is not None
            self.table = RowTable(self.name, setting, setting.rows)

    def _follow_loss(self, classes: int) -> None:
        """Decide lambda where none was asked for, once K is known."""
        if self.strength is None:
            self.strength = lambda_for(self.setting.criterion, classes)

    def change_batch(self, batch: Batch, *, step: int, epoch: float) -> Batch:
        if self.teacher is not None:
            self._prediction = _prediction(self.setting.model, self.teacher, batch)
        return batch

    def rates(self, progress: float) -> dict[str, float]:
        share = min(1.0, progress / self.ramp) if self.ramp else 1.0
        return {"elr.lambda": share * float(self.strength or 0.0)}

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        require_one_label_a_row(self.name, view)
        self._follow_loss(view.logits.shape[1])
        probabilities = view.probabilities().clamp(_LEAST, 1 - _LEAST)
        targets = self._targets_of(view, probabilities.detach())
        inner = (probabilities * targets).sum(dim=1)
        term = torch.log((1 - inner).clamp_min(_LEAST)) * view.weights_of_terms()
        return {"elr": self.rate(view, "lambda") * term.sum()}

    def _targets_of(self, view: StepView, probabilities: Tensor) -> Tensor:
        if self.table is None:
            assert self._prediction is not None
            mixing = view.batch.get("mixing")
            return self._prediction if mixing is None else mixing.of(self._prediction)
        seen = probabilities / probabilities.sum(dim=1, keepdim=True)
        before = self.table.read(view.index, probabilities.shape[1])
        targets = self.beta * before + (1 - self.beta) * seen
        self.table.write(view.index, targets, view.counted())
        return targets

    def after_step(self, model: nn.Module, *, step: int) -> None:
        if self.table is not None:
            self.table.flush()
        if self.teacher is not None:
            self.teacher.update(self.setting.model, step)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.teacher.tensors) if self.teacher is not None else self._table().state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if self.teacher is not None:
            self.teacher.load(self.name, state)
        else:
            self._table().load_state_dict(state)
            self.refuse_others(state, "rows")

    def _table(self) -> RowTable:
        assert self.table is not None
        return self.table


def lambda_for(criterion: RobustLoss, classes: int) -> float:
    """3 times the loss's pull at a wrong label beside cross entropy's, at most 3.

    The pull is taken where the network gives another class than the label 0.9.
    """
    device = place_of(criterion)
    own, usual = (
        pull(loss, classes, 0.9, is_right=False, device=device)
        for loss in (criterion, nn.functional.cross_entropy)
    )
    return float(f"{min(_STRONGEST * own / usual, _STRONGEST):.3g}")


@contextmanager
def _evaluating(model: nn.Module) -> Any:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def _prediction(model: nn.Module, teacher: AveragedWeights, batch: Batch) -> Tensor:
    """Class probabilities (N, K) of the averaged network, float32."""
    features = {name: value for name, value in batch.items() if name not in BATCH_EXTRAS}
    pixels = [features.pop("pixel_values")] if "pixel_values" in features else []
    with _evaluating(model):
        outputs = functional_call(model, teacher.fitting(model), tuple(pixels), features)
    return logits_of(outputs).float().softmax(dim=1)
