"""Bad parameters, names and inputs: one sentence each, with what is allowed and the nearest name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from jal_hf.losses import create_loss, list_losses, loss_info, loss_preset
from jal_hf.theory import minimum_a

LOGITS = torch.zeros(3, 5)
LABELS = torch.tensor([0, 1, 4])


@pytest.mark.parametrize(
    ("name", "params", "match"),
    [
        ("amse", {"a": 0.9}, "a must be at least 1, but 0.9"),
        ("amse", {"q": 0.0}, "q must be greater than 0"),
        ("amse", {"a": float("nan")}, "a must be"),
        ("jal-ce", {"a": 0.5}, "a must be at least 1"),
        ("jal-ce", {"alpha": -1.0}, "jal-ce: alpha must be at least 0"),
        ("aul", {"a": 1.0}, "a must be greater than 1"),
        ("agce", {"a": 0.0}, "a must be greater than 0"),
        ("gce", {"eps": 1.0}, "eps must be greater than 0 and less than 1"),
        ("ce+lc", {"mode": "papr"}, "Did you mean 'paper'"),
        ("ce", {"reduction": "avg"}, "reduction must be one of mean, sum, none"),
        ("ce", {"weight": [1.0, -1.0]}, "weight must be"),
        ("jal-ce", {"aa": 3.0}, "has no parameter 'aa'.*Did you mean 'a'"),
        ("jal-ce", {"gamma": 3.0}, "has no parameter 'gamma'"),
        ("nce+mae", {"scale": 2.0}, "has no parameter 'scale'"),
        ("jal-cee", {}, "Did you mean 'jal-ce'"),
        ("lt-apl", {}, "reported, not implemented: LT-APL appears only"),
        ("nlnl", {"ln_neg": 0}, "ln_neg must be at least 1"),
        ("nlnl", {"class_counts": [3, 0]}, "class_counts must be greater than 0"),
        ("jal-ce", {"preset": "cifar11"}, "Did you mean 'cifar1"),
        ("jal-ce", {"preset": "auto"}, "needs num_classes"),
    ],
)
def test_loss_refuses_wrong_parameters_with_a_sentence(name: str, params: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        create_loss(name, **params)


@pytest.mark.parametrize("params", [{"a": "30"}, {"a": True}, {"ignore_index": 1.5}])
def test_loss_refuses_wrong_parameter_types(params: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be"):
        create_loss("jal-ce", **params)


@pytest.mark.parametrize("params", [{"ln_neg": 1.7}, {"seed": 1.5}, {"seed": True}, {"ln_neg": "2"}])
def test_counts_and_seeds_are_whole_numbers(params: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        create_loss("nlnl", **params)


def test_numbers_may_be_of_any_type_of_number() -> None:
    loss = create_loss(
        "jal-ce", alpha=np.int64(2), beta=np.float32(0.5), a=np.float64(3.0), ignore_index=np.int64(-1)
    )
    assert loss.config() == create_loss("jal-ce", alpha=2, beta=0.5, a=3, ignore_index=-1).config()
    assert json.dumps(loss.config())
    draws = create_loss("nlnl", ln_neg=np.int32(2), seed=2**53 + 1)
    assert (draws.ln_neg, draws.seed) == (2, 2**53 + 1)
    assert create_loss("nlnl", ln_neg=2.0).ln_neg == 2
    assert minimum_a(np.float32(0.5), num_classes=4) == pytest.approx(3.0)


def test_one_class_is_refused() -> None:
    for ask in (
        minimum_a,
        lambda rate, num_classes: create_loss("amse", preset="auto", num_classes=num_classes, noise=rate),
    ):
        with pytest.raises(ValueError, match="num_classes must be at least 2, but 1 was given"):
            ask(0.4, num_classes=1)


@pytest.mark.parametrize(
    ("logits", "target", "match"),
    [
        (LOGITS, torch.tensor([0, 5, 1]), r"in \[0, 5\).*label 5 was given \(1 such rows: 1\)"),
        (LOGITS, torch.tensor([0, -1, -2]), "2 such rows: 1, 2"),
        (LOGITS, torch.tensor([0, 1]), r"shape \(3,\)"),
        (LOGITS, torch.zeros(3, 4), "class probabilities"),
        (torch.zeros(5), torch.tensor(0), r"\(N, K\)"),
        (torch.zeros(3, 1), LABELS, "at least 2 classes"),
        (LOGITS, torch.zeros(3, dtype=torch.bool), "class indices"),
        (LOGITS.long(), LABELS, "floating point"),
    ],
)
@pytest.mark.parametrize("name", ["jal-ce", "ce", "nlnl"])
def test_loss_refuses_inputs_that_do_not_fit(name: str, logits: Any, target: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        create_loss(name)(logits, target)


@pytest.mark.parametrize("name", ["jal-ce", "ce", "nlnl"])
def test_loss_refuses_what_is_no_tensor(name: str) -> None:
    loss = create_loss(name, weight=[1.0] * LOGITS.shape[1])
    for call in (loss, loss.components, loss.sum_and_weight):
        with pytest.raises(TypeError, match="target must be a tensor, but ndarray was given"):
            call(LOGITS, LABELS.numpy())
        with pytest.raises(TypeError, match="logits must be a tensor, but list was given"):
            call(LOGITS.tolist(), LABELS)
        with pytest.raises(TypeError, match="sample_weight must be a tensor, but list was given"):
            call(LOGITS, LABELS, [1.0] * len(LABELS))


def test_loss_refuses_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="weight has 2 entries"):
        create_loss("ce", weight=[1.0, 2.0])(LOGITS, LABELS)
    with pytest.raises(ValueError, match="sample_weight must have"):
        create_loss("ce")(LOGITS, LABELS, sample_weight=torch.ones(4))
    with pytest.raises(ValueError, match="class_counts has 2 entries"):
        create_loss("nlnl", class_counts=[1, 2])(LOGITS, LABELS)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_may_be_any_integer_type(dtype: torch.dtype) -> None:
    assert create_loss("jal-ce")(LOGITS, LABELS.to(dtype)) == create_loss("jal-ce")(LOGITS, LABELS)


def test_every_loss_has_a_preset_with_a_source_on_every_dataset() -> None:
    for name in list_losses():
        for dataset in ("digits", "mnist", "cifar10", "cifar100", "webvision-mini", "clothing1m", "cifar10n"):
            preset = loss_preset(name, dataset)
            assert preset.source
            assert (preset.l1_weight_decay > 0) != (preset.weight_decay > 0)
            assert create_loss(name, preset=dataset).hyperparameters().items() >= dict(preset.params).items()


def test_presets_have_the_papers_values() -> None:
    jal = loss_preset("jal-ce", "cifar100")
    assert (jal.params["alpha"], jal.params["beta"], jal.params["a"], jal.l1_weight_decay) == (5, 1, 20, 5e-6)
    assert loss_preset("ce", "cifar10").weight_decay == 1e-4
    assert create_loss("nce+agce").hyperparameters() == {"alpha": 1, "beta": 4, "a": 6, "q": 1.5}
    assert create_loss("jal-ce", preset="cifar100", a=3.0).hyperparameters()["a"] == 3.0


def test_auto_preset_takes_the_smallest_safe_a_with_a_margin_and_says_why() -> None:
    loss = create_loss("jal-ce", preset="auto", num_classes=10, noise=0.8)
    assert loss.hyperparameters()["a"] == pytest.approx(13.5)
    assert "smallest safe a for amse is 9" in loss.preset_reason
    assert create_loss("amse", preset="auto", noise=[[0.8, 0.2], [0.4, 0.6]]).a == pytest.approx(7.5)
    with pytest.raises(ValueError, match="clean labels do not dominate"):
        create_loss("amse", preset="auto", noise=[[0.8, 0.2], [0.6, 0.4]])
    assert "no parameter a" in create_loss("ce", preset="auto", num_classes=10).preset_reason


def test_reported_loss_is_known_but_not_listed() -> None:
    assert loss_info("lt-apl").reported_only
    assert "lt-apl" not in list_losses()


def _draws(loss: Any, step: int, rows: torch.Tensor | None = None) -> torch.Tensor:
    with loss.drawing(step, rows):
        return loss._draw(torch.arange(5).unsqueeze(1), torch.zeros(5, 5))


def test_negative_learning_draws_are_reproducible_and_never_the_label() -> None:
    loss, again = create_loss("nlnl", ln_neg=50, seed=3), create_loss("nlnl", ln_neg=50, seed=3)
    labels = torch.arange(5).unsqueeze(1)
    first, second = _draws(loss, 0), _draws(loss, 1)
    assert torch.equal(first, again._draw(labels, torch.zeros(5, 5)))
    assert torch.equal(second, _draws(again, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first, create_loss("nlnl", ln_neg=50, seed=4)._draw(labels, torch.zeros(5, 5)))
    assert (first != labels).all()
    one = torch.zeros(1, 1, dtype=torch.int64)
    many = create_loss("nlnl", ln_neg=20_000)._draw(one, torch.zeros(1, 5)).flatten().bincount()
    assert torch.allclose(many[1:].double(), torch.tensor(5000.0, dtype=torch.float64), rtol=0.06)


def test_negative_learning_loss_is_the_formula_at_its_draws() -> None:
    logits, labels = torch.randn(4, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 4])
    counts = [4.0, 1.0, 2.0, 4.0, 8.0]
    draws = create_loss("nlnl", ln_neg=3)._draw(labels.unsqueeze(1), logits)
    value = create_loss("nlnl", ln_neg=3, class_counts=counts, reduction="none")(logits, labels)
    p = torch.softmax(logits, 1)
    for row in range(4):
        terms = [-(8.0 / counts[labels[row]]) * torch.log(1 - p[row, j]) for j in draws[row]]
        torch.testing.assert_close(value[row], torch.stack(terms).mean())
