"""Replays run no Python, as those of a CUDA graph: what a step does besides its operators must not matter."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from jal_hf.training.captured.eligibility import has_hooks
from jal_hf.training.captured.step import CapturedStep
from tests.training.tape import TapeRecording
from tests.training.test_captured import METHODS, ROWS, assert_equal, logged, state_of, trainer_of


@pytest.fixture(autouse=True)
def _replays_run_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jal_hf.training.captured.recording.Recording", TapeRecording)


def compare_both(folder: Path, **changes: Any) -> CapturedStep:
    """Train captured and eagerly; equal weights, states and logs."""
    trainers = [trainer_of(folder / mode, mode, **changes) for mode in ("on", "off")]
    for trainer in trainers:
        trainer.train()
    captured, eager = trainers
    assert captured.captured is not None
    assert_equal(state_of(captured), state_of(eager))
    assert_equal(captured.method.state_dict(), eager.method.state_dict())
    assert logged(captured) == logged(eager)
    assert captured.state.total_flos == eager.state.total_flos
    return captured.captured


@pytest.mark.parametrize("method", ["plain", *METHODS])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_replayed_operators_alone_give_the_bits_and_the_log_of_the_eager_path(
    accumulation: int, method: str, tmp_path: Path
) -> None:
    """Every method passes from one phase or rate to another within the training."""
    # 17 or 10 steps an epoch, the last of them short.
    changes = {"method": method, "gradient_accumulation_steps": accumulation, "eval_strategy": "no"}
    changes["max_train_samples"] = {1: 132, 4: ROWS}[accumulation]
    if method == "warmup":
        changes["method_args"] = '{"share": 0.2, "fade": 0.5}'
    captured = compare_both(tmp_path, **changes)
    assert captured.replayed > 5


def test_training_goes_on_past_the_first_hundred_steps(tmp_path: Path) -> None:
    """There the classifier is looked at, by a hook."""
    changes = {"num_train_epochs": 3, "eval_strategy": "no"}
    captured = compare_both(tmp_path, **changes)
    # 3 of 111 steps before the recording, 3 short ones, 1 with the hook.
    assert captured.replayed == 111 - 3 - 3 - 1


class _Pool:
    """A memory pool of graphs, which ends with the last of them, as torch's allocator has it."""

    def __init__(self, *_: Any) -> None:
        self.graphs: weakref.WeakSet[Any] = weakref.WeakSet()
        self.was_used = False


class _Pooled(TapeRecording):
    def __init__(self, function: Any, device: torch.device, pool: Any = None) -> None:
        assert not pool.was_used or pool.graphs, "recorded into a pool whose last graph is gone"
        super().__init__(function, device, pool)
        pool.graphs.add(self)
        pool.was_used = True


@pytest.mark.parametrize("accumulation", [1, 4])
def test_each_phase_of_a_method_records_into_a_pool_of_its_own(
    accumulation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jal_hf.training.captured.recording.Recording", _Pooled)
    monkeypatch.setattr("jal_hf.training.captured.recording.memory_pool", _Pool)
    changes = {"method": "ema+gate+twin", "gradient_accumulation_steps": accumulation, "eval_strategy": "no"}
    captured = compare_both(tmp_path, max_train_samples={1: 132, 4: ROWS}[accumulation], **changes)
    assert captured.replayed > 5


class _Hook(TrainerCallback):
    """Somebody's hook, on the network for some steps."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 10:
            self.handle = model.register_forward_hook(lambda *_: self.seen.append(state.global_step))
        if state.global_step == 14:
            self.handle.remove()


def test_hooks_of_callbacks_are_called(tmp_path: Path) -> None:
    callbacks = [_Hook(), _Hook()]
    trainers = [
        trainer_of(tmp_path / mode, mode, callbacks=[callback], max_steps=30, eval_strategy="no")
        for mode, callback in zip(("on", "off"), callbacks, strict=True)
    ]
    for trainer in trainers:
        trainer.train()
    assert callbacks[0].seen == callbacks[1].seen == [10, 11, 12, 13]
    assert_equal(*map(state_of, trainers))


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_every_kind_of_hook_on_a_module_is_seen(register: str) -> None:
    layer = torch.nn.Linear(2, 2)
    assert not has_hooks(layer)
    handle = getattr(layer, register)(lambda *_: None)
    assert has_hooks(layer)
    handle.remove()
    assert not has_hooks(layer)
