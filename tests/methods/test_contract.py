"""What every training method keeps: exact resume, exact accumulation, its state and its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from jal_hf import create_loss
from jal_hf.training.methods import (
    Method,
    MethodInfo,
    Setting,
    combined,
    create_method,
    default_parameters,
    list_methods,
    register_method,
)
from jal_hf.training.methods.checkpointing import STATE_FILE
from jal_hf.training.methods.method import for_the_loss
from tests.methods.helpers import ALL, COMBINATIONS, trainer, view, weights_of
from tests.training.helpers import CLASSES, SIZE


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor], **tolerance: float) -> None:
    assert set(left) == set(right)
    for name, value in left.items():
        torch.testing.assert_close(
            value,
            right[name],
            **(tolerance or {"rtol": 0, "atol": 0}),
            msg=lambda text, n=name: f"{n}: {text}",
        )


@pytest.mark.parametrize("name", ALL)
def test_resume_is_byte_equal(name: str, tmp_path: Path) -> None:
    steps = {"save_strategy": "steps", "save_steps": 2}
    whole = trainer(tmp_path / "whole", name, **steps)
    whole.train()
    trainer(tmp_path / "part", name, **steps, max_steps=4)  # only one may be made before it is used
    resumed = trainer(tmp_path / "part", name, **steps)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert resumed.state.global_step == 4
    assert_equal(weights_of(whole.model), weights_of(resumed.model))
    states = [tmp_path / part / "checkpoint-4" / STATE_FILE for part in ("whole", "part")]
    assert states[0].is_file() == states[1].is_file() == bool(whole.method.state_dict())
    if states[0].is_file():
        assert states[0].read_bytes() == states[1].read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_step_does_not_depend_on_accumulation(name: str, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "a", name)
    whole.train()
    split = trainer(tmp_path / "b", name, batch=2, accumulation=4)
    split.train()
    assert_equal(weights_of(whole.model), weights_of(split.model), rtol=1e-4, atol=1e-6)
    assert_equal(whole.method.state_dict(), split.method.state_dict(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_labels_and_row_numbers_may_be_of_any_integer_type(name: str, tmp_path: Path) -> None:
    trained = [trainer(tmp_path / kind, name, max_steps=2) for kind in ("long", "short")]
    rows = [trained[1].train_dataset[row] for row in range(32)]
    trained[1].train_dataset = [
        {**row, "labels": row["labels"].to(torch.int8), "index": row["index"].int()} for row in rows
    ]
    for one in trained:
        one.train()
    assert_equal(*(weights_of(one.model) for one in trained))


@pytest.mark.parametrize("name", ["plain", "warmup", "elr", "twin", *COMBINATIONS])
def test_step_does_not_depend_on_the_scale_of_class_weights(name: str, tmp_path: Path) -> None:
    weights = [1.0, 2.0, 0.5, 1.0]
    first = trainer(tmp_path / "a", name, weight=weights)
    first.train()
    scaled = trainer(tmp_path / "b", name, weight=[8 * weight for weight in weights])
    scaled.train()
    assert_equal(weights_of(first.model), weights_of(scaled.model), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5, 1.0]])
@pytest.mark.parametrize("name", ["elr", "twin"])
def test_strength_of_a_network_that_does_not_tell_its_classes_follows_the_loss(
    name: str, weight: list[float] | None, tmp_path: Path
) -> None:
    silent = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, CLASSES))
    trained = trainer(tmp_path, name, model=silent, weight=weight, max_steps=1)
    trained.train()
    told = create_method(name)
    told.begin(Setting(model=silent, criterion=trained.criterion, num_classes=CLASSES, rows=32))
    assert trained.method.config() == told.config()


@pytest.mark.parametrize("name", [name for name in ALL if name != "plain"])
def test_method_changes_the_training(name: str, tmp_path: Path) -> None:
    plain, other = trainer(tmp_path / "a", "plain"), None
    plain.train()
    other = trainer(tmp_path / "b", name)
    other.train()
    assert any(
        not torch.equal(a, b) for a, b in zip(plain.model.parameters(), other.model.parameters(), strict=True)
    )


def test_plain_hands_the_loss_what_the_batch_gave() -> None:
    labels = torch.tensor([0, 1, -100])
    given = view(torch.randn(3, 4), labels)
    seen, weights = for_the_loss(Method(), given)
    assert seen.logits is given.logits
    assert seen.targets is labels
    assert weights is None
    assert Method().terms(seen) == {}


@pytest.mark.parametrize("name", ALL)
def test_state_survives_a_round_trip_and_other_state_is_refused(name: str, tmp_path: Path) -> None:
    trained = trainer(tmp_path, name, max_steps=2)
    trained.train()
    state = {key: value.clone() for key, value in trained.method.state_dict().items()}
    fresh = create_method(name)
    fresh.begin(trained.method.setting)
    fresh.load_state_dict(state)
    assert_equal(fresh.state_dict(), state)
    with pytest.raises(ValueError, match=r"[Rr]esume"):
        fresh.load_state_dict({**state, "stranger": torch.zeros(1)})


@pytest.mark.parametrize("name", ["ema", "elr", "refurbish"])
def test_checkpoint_of_another_method_is_refused(name: str, tmp_path: Path) -> None:
    trainer(tmp_path, "plain", save_strategy="steps", save_steps=2, max_steps=2).train()
    with pytest.raises(ValueError, match=r"another method|--method"):
        trainer(tmp_path, name).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@pytest.mark.parametrize("name", ALL)
def test_config_builds_the_method_again(name: str, tmp_path: Path) -> None:
    trained = trainer(tmp_path, name, max_steps=1)
    trained.train()
    config = trained.method.config()
    again = create_method(config["name"], config["params"])
    assert again.config() == config
    assert set(config["name"].split("+")) == set(name.split("+"))


@pytest.mark.parametrize("name", list_methods())
def test_every_parameter_is_checked(name: str) -> None:
    for key in default_parameters(name):
        with pytest.raises(ValueError, match=f"Method '{name}': {key} must be"):
            create_method(name, {key: "many"})


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("elrr", {}, "Did you mean 'elr'"),
        ("elr+elr", {}, "stands twice"),
        ("plain+ema", {}, "contradicts itself"),
        ("mixup+gate", {}, "shows two rows"),
        ("twin+cutmix", {}, "shows two rows"),
        ("mixup+cutmix", {}, "both mix"),
        ("elr+mixup", {"elr": {"targets": "rows"}}, "targets 'teacher'"),
        ("elr", {"lamda": 1}, "Did you mean 'lambda'"),
        ("elr+ema", {"lambda": 1}, "under a method's name"),
        ("elr", {"beta": 2}, "from 0 to 1, got 2"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    name: str, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_method(name, parameters)


@pytest.mark.parametrize("name", ["Trim", "my trim", "a+b", "a,b", ""])
def test_name_by_which_no_method_can_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        register_method(MethodInfo(name, Method, "-"))
    assert name not in list_methods()


def test_order_and_the_form_of_parameters_mean_nothing() -> None:
    name = COMBINATIONS[0]
    assert create_method("+".join(reversed(name.split("+")))).name == name
    assert (
        create_method("elr", {"lambda": 1}).config() == create_method("elr", {"elr": {"lambda": 1}}).config()
    )
    both = combined([create_method("mixup"), create_method("ema", {"decay": 0.5})])
    assert both.config()["params"]["ema"] == {"decay": 0.5}


@pytest.mark.parametrize("name", ["ema", "elr"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_average_of_weights_in_another_precision_follows_them(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    parameters = {} if name == "ema" else {"targets": "teacher", "teacher_decay": 0.999}
    method, model = create_method(name, parameters), nn.Linear(2, CLASSES, bias=False).to(dtype)
    nn.init.ones_(model.weight)
    method.begin(Setting(model=model, criterion=create_loss("ce"), num_classes=CLASSES, rows=8))
    nn.init.constant_(model.weight, 1.5)
    for step in range(10_000, 12_000):
        method.after_step(model, step=step)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    expected = 1.5 - 0.5 * 0.999**2000
    assert float(state["weight"].mean()) == pytest.approx(expected, abs=1e-3)
    labels = torch.zeros(3, dtype=torch.int64)
    changed = method.change_batch(
        {"pixel_values": torch.ones(3, 2, dtype=dtype), "labels": labels}, step=1, epoch=0
    )
    assert changed["labels"] is labels
    with method.evaluated(model):
        assert model.weight.dtype is dtype
        assert float(model.weight.detach().float().mean()) == pytest.approx(
            1.5 if name == "elr" else expected, abs=4e-3
        )
    again = create_method(name, parameters)
    again.begin(method.setting)
    again.load_state_dict({key: value.to(dtype) for key, value in state.items()})
    assert again.state_dict()["weight"].dtype is state["weight"].dtype


def test_weights_set_after_a_training_and_those_of_another_trainer_are_evaluated(tmp_path: Path) -> None:
    method = create_method("ema", {"decay": 0.5})
    trained = trainer(tmp_path / "a", method)
    trained.train()
    other = trainer(tmp_path / "b", method)
    for one in (trained, other):
        for parameter in one.model.parameters():
            nn.init.zeros_(parameter)
        found = torch.as_tensor(one.predict(one.train_dataset).predictions)
        assert torch.equal(found, torch.zeros(32, CLASSES))


def test_checkpoint_holds_raw_weights_and_the_average_beside_them(tmp_path: Path) -> None:
    trained = trainer(tmp_path, create_method("ema"), save_strategy="steps", save_steps=4)
    trained.train()
    folder = tmp_path / "checkpoint-4"
    raw, mean = load_file(folder / "model.safetensors"), load_file(folder / STATE_FILE)
    name = next(key for key in raw if key.endswith("head.weight"))
    average = next(value for key, value in mean.items() if key.endswith("head.weight"))
    assert not torch.equal(raw[name], average)
    assert torch.equal(
        dict(weights_of(trained.model))[next(k for k in mean if k.endswith("head.weight"))], average
    )
