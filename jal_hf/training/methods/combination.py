"""Several methods as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from torch import Tensor, nn

from jal_hf.losses import RobustLoss
from jal_hf.training.methods.batch import Batch, RowKeys
from jal_hf.training.methods.method import Draws, Method, Parameters, Phase
from jal_hf.training.methods.step_view import Setting, StepView


class Combination(Method):
    """Methods that are applied one after the other; each sees what those before it left.

    Args:
        methods: At least two, in the registry's order.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        self.methods = tuple(methods)
        self.name = "+".join(method.name for method in self.methods)

    @property
    def averages_weights(self) -> bool:  # type: ignore[override]
        return any(method.averages_weights for method in self.methods)

    @property
    def capturable(self) -> bool:
        return all(method.capturable for method in self.methods)

    def check(self, criterion: RobustLoss, *, is_stream: bool) -> None:
        for method in self.methods:
            method.check(criterion, is_stream=is_stream)

    def begin(self, setting: Setting) -> None:
        self.setting = setting
        for method in self.methods:
            method.begin(setting)

    def draws(self, rows: RowKeys, *, step: int) -> dict[str, Draws]:
        return {
            name: draws for method in self.methods for name, draws in method.draws(rows, step=step).items()
        }

    def rates(self, progress: float) -> dict[str, float]:
        return {name: rate for method in self.methods for name, rate in method.rates(progress).items()}

    def phase(self, progress: float) -> Phase:
        return tuple(method.phase(progress) for method in self.methods)

    def change_batch(self, batch: Batch, *, step: int, epoch: float) -> Batch:
        for method in self.methods:
            batch = method.change_batch(batch, step=step, epoch=epoch)
        return batch

    def after_forward(self, view: StepView) -> StepView:
        for method in reversed(self.methods):
            view = method.after_forward(view)
        return view

    def targets(self, view: StepView) -> Tensor:
        for method in self.methods:
            view = replace(view, targets=method.targets(view))
        return view.targets

    def row_weights(self, view: StepView) -> Tensor | None:
        for method in self.methods:
            view = replace(view, sample_weight=method.row_weights(view))
        return view.sample_weight

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        return {name: term for method in self.methods for name, term in method.terms(view).items()}

    def after_step(self, model: nn.Module, *, step: int) -> None:
        for method in self.methods:
            method.after_step(model, step=step)

    @contextmanager
    def evaluated(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for method in self.methods:
                stack.enter_context(method.evaluated(model))
            yield

    def end(self, model: nn.Module) -> None:
        for method in self.methods:
            method.end(model)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{method.name}.{name}": tensor
            for method in self.methods
            for name, tensor in method.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        rest = dict(state)
        for method in self.methods:
            start = f"{method.name}."
            own = {name: tensor for name, tensor in state.items() if name.startswith(start)}
            method.load_state_dict({name.removeprefix(start): tensor for name, tensor in own.items()})
            rest = {name: tensor for name, tensor in rest.items() if name not in own}
        super().load_state_dict(rest)

    def parameters(self) -> Parameters:
        return {method.name: method.parameters() for method in self.methods}
