"""The captured step without capture: the same function on the same static buffers gives the same bits."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from jal_hf import JALTrainer
from jal_hf.training.captured.recording import Outcome, Recording
from jal_hf.training.captured.step import WARMUP_STEPS
from jal_hf.training.failures import NonFiniteLossError
from jal_hf.training.methods import Method, create_method, list_methods

# 36 micro-batches of 8 and one of 4: with four of them a step, the last step of an epoch is short in both ways.
ROWS, BATCH = 292, 8


def trainer_of(folder: Path, mode: str, **changes: Any) -> JALTrainer:
    settings: dict[str, Any] = {
        "max_train_samples": ROWS,
        "max_eval_samples": 64,
        "augment": "crop-flip-rotate",
        "loss": "jal-ce",
        "l1_weight_decay": 1e-4,
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "weight_decay": 1e-3,
        "learning_rate": 0.05,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "num_train_epochs": 2,
        "per_device_train_batch_size": BATCH,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 7,
        "use_cpu": True,
        "disable_tqdm": True,
        "precision": "fp32",
    }
    asked = {**settings, **changes}
    callbacks = asked.pop("callbacks", [])
    trainer = JALTrainer.from_recipe("digits", output_dir=str(folder), cuda_graph=mode, **asked)
    trainer.config = None  # nothing is written without checkpoints
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def state_of(trainer: JALTrainer) -> dict[str, Tensor]:
    """Weights, buffers and the optimizer's tensors."""
    found = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
    for number, state in trainer.optimizer.state_dict()["state"].items():
        found |= {f"{number}.{name}": value.clone() for name, value in state.items() if value is not None}
    return found


def assert_equal(captured: dict[str, Tensor], eager: dict[str, Tensor]) -> None:
    assert captured.keys() == eager.keys()
    for name, value in eager.items():
        assert torch.equal(captured[name], value), name


def logged(trainer: JALTrainer) -> list[dict[str, float]]:
    """What was logged, less the clocks."""
    clocks = ("runtime", "per_second", "data_wait_share")
    return [
        {name: value for name, value in line.items() if not any(clock in name for clock in clocks)}
        for line in trainer.state.log_history
    ]


def both(folder: Path, **changes: Any) -> tuple[JALTrainer, JALTrainer]:
    trainers = [trainer_of(folder / mode, mode, **changes) for mode in ("on", "off")]
    for trainer in trainers:
        trainer.train()
    captured, eager = trainers
    assert captured.captured is not None
    assert eager.captured is None
    assert captured.captured.replayed > 5
    return captured, eager


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_captured_path_gives_the_bits_and_the_log_of_the_eager_one(
    accumulation: int, precision: str, tmp_path: Path
) -> None:
    captured, eager = both(tmp_path, gradient_accumulation_steps=accumulation, precision=precision)
    assert_equal(state_of(captured), state_of(eager))
    assert logged(captured) == logged(eager)
    assert captured.state.total_flos == eager.state.total_flos


METHODS = [*(name for name in list_methods() if name != "plain"), "ema+gate+twin", "warmup+elr+mixup"]
# What the methods keep between steps, together.
KEEPING_STATE = ["plain", "refurbish", "ema+gate+twin", "warmup+elr+mixup"]


def test_captured_path_steps_with_adamw_as_the_eager_one_does(tmp_path: Path) -> None:
    captured, eager = both(tmp_path, optim="adamw_torch_fused", optim_args=None, learning_rate=0.003)
    assert_equal(state_of(captured), state_of(eager))


@pytest.mark.parametrize("method", KEEPING_STATE)
@pytest.mark.parametrize("accumulation", [1, 4])
def test_captured_path_resumes_in_the_middle_of_an_epoch(
    accumulation: int, method: str, tmp_path: Path
) -> None:
    """A run that goes on from a checkpoint, either way, ends with the bits of one that was never cut."""
    # 9 or 5 steps an epoch, the last of them short; the checkpoint is within the second of three epochs.
    cut_at = {1: 12, 4: 6}[accumulation]
    changes = {
        "max_train_samples": {1: 68, 4: 132}[accumulation],
        "num_train_epochs": 3,
        "gradient_accumulation_steps": accumulation,
        "eval_strategy": "no",
        "method": method,
        "save_strategy": "steps",
        "save_steps": cut_at,
        "save_total_limit": 9,
    }
    whole = {mode: trainer_of(tmp_path / mode, mode, **changes) for mode in ("on", "off")}
    for trainer in whole.values():
        trainer.train()
    assert_equal(state_of(whole["on"]), state_of(whole["off"]))
    ways = (("on", "on"), ("on", "off"), ("off", "on"))
    for first, second in ways if method == "plain" else ways[:1]:
        resumed = trainer_of(tmp_path / first, second, **changes, overwrite=True)
        resumed.train(resume_from_checkpoint=str(tmp_path / first / f"checkpoint-{cut_at}"))
        assert resumed.state.global_step == whole["off"].state.global_step
        assert_equal(state_of(resumed), state_of(whole["off"]))
        assert_equal(resumed.method.state_dict(), whole["off"].method.state_dict())
        assert (resumed.captured is not None and resumed.captured.replayed > 0) == (second == "on")


class _Stop(TrainerCallback):
    """Ends training after a step, as it is or by a signal."""

    def __init__(self, step: int, number: int = 0) -> None:
        self.step, self.number = step, number

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.number and state.global_step == self.step - 1:
            os.kill(os.getpid(), self.number)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.number and state.global_step == self.step:
            control.should_training_stop = True


def test_captured_path_ends_after_its_step_at_sigterm_with_a_checkpoint(tmp_path: Path) -> None:
    changes = {"save_strategy": "epoch", "eval_strategy": "no"}
    ended = {}
    for mode in ("on", "off"):
        trainer = trainer_of(tmp_path / mode, mode, **changes, callbacks=[_Stop(10, signal.SIGTERM)])
        trainer.train()
        assert trainer.stop_signals.stopped_by == signal.SIGTERM
        assert (tmp_path / mode / "checkpoint-10").is_dir()
        ended[mode] = state_of(trainer)
    assert_equal(ended["on"], ended["off"])


class _Poison(TrainerCallback):
    """Makes the images of the training set yield a loss that is not finite, in one step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.kept: Tensor | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        bias = list(model.parameters())[-1]
        if state.global_step == self.step - 1:
            self.kept = bias.detach().clone()
            bias.data.fill_(float("nan"))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.step and self.kept is not None:
            list(model.parameters())[-1].data.copy_(self.kept)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_captured_path_leaves_a_nonfinite_step_out(accumulation: int, tmp_path: Path) -> None:
    ended = {}
    for mode in ("on", "off"):
        trainer = trainer_of(
            tmp_path / mode, mode, on_nonfinite="skip", gradient_accumulation_steps=accumulation,
            callbacks=[_Poison(7)],
        )  # fmt: skip
        trainer.train()
        assert trainer.guard.skipped == 1
        ended[mode] = state_of(trainer)
        assert all(torch.isfinite(value).all() for value in ended[mode].values())
    assert_equal(ended["on"], ended["off"])


def test_captured_path_stops_at_a_nonfinite_step_with_the_same_sentence(tmp_path: Path) -> None:
    sentences, ended = {}, {}
    for mode in ("on", "off"):
        trainer = trainer_of(tmp_path / mode, mode, callbacks=[_Poison(7)], save_strategy="no")
        with pytest.raises(NonFiniteLossError) as caught:
            trainer.train()
        sentences[mode] = str(caught.value).replace(str(tmp_path / mode), "")
        ended[mode] = [parameter.detach().clone() for parameter in trainer.model.parameters()][:-1]
    assert sentences["on"] == sentences["off"]
    assert "step 7" in sentences["on"]
    assert all(map(torch.equal, ended["on"], ended["off"]))


class _Smoothed(Method):
    name = "smoothed"

    def targets(self, view: Any) -> Tensor:
        return view.labels


class _Capturable(_Smoothed):
    capturable = True


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss": "nlnl"}, "draws anew"),
        ({"torch_compile": True}, "torch.compile"),
        ({"augment": "randomresizedcrop"}, "one array"),
        ({"optim": "adagrad", "optim_args": None}, "no fused form"),
    ],
)
def test_captured_step_asked_for_where_it_cannot_be_says_why(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        trainer_of(tmp_path, "on", max_steps=6, eval_strategy="no", **changes).train()


def test_only_methods_that_say_so_are_captured(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "on", max_steps=6, eval_strategy="no")
    trainer.method = _Smoothed()
    with pytest.raises(ValueError, match="method 'smoothed'"):
        trainer.train()
    trainer.method = _Capturable()
    trainer.train()
    assert trainer.captured is not None
    assert trainer.captured.replayed == 3


def test_every_method_of_this_package_can_be_captured() -> None:
    assert all(create_method(name).capturable for name in list_methods())


def test_elr_with_a_teacher_is_captured_too(tmp_path: Path) -> None:
    captured, eager = both(tmp_path, method="elr", method_args='{"targets": "teacher"}', eval_strategy="no")
    assert_equal(state_of(captured), state_of(eager))
    assert_equal(captured.method.state_dict(), eager.method.state_dict())


def test_captured_step_is_left_off_on_a_cpu_unless_asked_for(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "auto", max_steps=4, eval_strategy="no")
    trainer.train()
    assert trainer.captured is None


class _Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("accumulation", "method"), [(1, "plain"), (2, "plain"), *((2, method) for method in METHODS)]
)
def test_what_is_recorded_neither_reads_values_nor_brings_any_from_the_host(
    accumulation: int, method: str, tmp_path: Path
) -> None:
    """Either would fail, or be frozen, in a CUDA graph: shapes from values, `.item()`, tensors from Python numbers."""
    trainer = trainer_of(
        tmp_path,
        "on",
        max_steps=16,
        eval_strategy="no",
        precision="bf16",
        method=method,
        gradient_accumulation_steps=accumulation,
    )
    seen: dict[Any, list[str]] = {}
    replay = Recording.replay

    def watched(recording: Recording) -> Outcome:
        with _Operators() as operators:
            outcome = replay(recording)
        seen[recording] = operators.names
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "replay", watched)
        # It looks at class probabilities that lie on a CPU, and at no others.
        patch.setattr("jal_hf.losses.reduction.check_class_probabilities", lambda *_: None)
        trainer.train()
    assert trainer.captured is not None
    # Each phase of the method has its own recordings, so that none of them goes unseen; a short one has none.
    length = Counter(trainer.method.phase(step / 16) for step in range(16))
    assert len(seen) == accumulation * sum(steps > WARMUP_STEPS for steps in length.values())
    refused = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "lift_fresh"}
    for names in seen.values():
        assert not refused & set(names)
        assert "convolution_backward" in names
    assert any("_fused_sgd_" in names for names in seen.values())
