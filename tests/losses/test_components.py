"""`components`, the figures of a log line: those of the loss that trains, and nothing changed by asking."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jal_hf.losses import JointLoss, create_loss, list_losses, loss_info

K = 6
PAIRS = [name for name in list_losses() if loss_info(name).parts]


class CountedReads(TorchDispatchMode):
    """Counts how often a tensor's value is handed to the host."""

    reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def _batch(ignore_index: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(12, K, generator=generator, dtype=torch.float64)
    labels = torch.randint(K, (12,), generator=generator)
    labels[2::5] = ignore_index
    return logits, labels


@pytest.mark.parametrize("name", PAIRS)
def test_components_skip_and_weigh_rows_as_the_joint_does(name: str) -> None:
    logits, labels = _batch(255)
    by_class, by_row = [1.0, 2.0, 0.5, 1.0, 4.0, 0.1], torch.rand(12, dtype=torch.float64)
    loss = create_loss(name, ignore_index=255, weight=by_class)
    assert isinstance(loss, JointLoss)
    parts = loss.components(logits, labels, by_row)
    torch.testing.assert_close(parts["loss"], loss(logits, labels, by_row), rtol=1e-12, atol=1e-13)
    for part in (loss.active, loss.passive):
        alone = create_loss(**{**part.config(), "ignore_index": 255, "weight": by_class})
        torch.testing.assert_close(parts[part.name], alone(logits, labels, by_row), rtol=1e-12, atol=1e-13)
    joined = loss.alpha * parts[loss.active.name] + loss.beta * parts[loss.passive.name]
    torch.testing.assert_close(joined, parts["loss"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", ["nlnl", "jal-ce", "joint"])
def test_components_change_nothing(loss: str) -> None:
    logits, labels = _batch(-100)
    asked = JointLoss("ce", "nlnl") if loss == "joint" else create_loss(loss)
    silent = copy.deepcopy(asked)
    for _ in range(3):
        asked.components(logits, labels)
        torch.testing.assert_close(asked(logits, labels), silent(logits, labels), rtol=0, atol=0)
    assert {key: repr(value) for key, value in asked.__dict__.items() if key != "_modules"} == {
        key: repr(value) for key, value in silent.__dict__.items() if key != "_modules"
    }


@pytest.mark.parametrize("name", list_losses())
def test_components_read_nothing_on_the_host_and_find_the_softmax_once(name: str) -> None:
    logits, labels = _batch(-100)
    loss = create_loss(name, weight=[1.0] * K)
    with CountedReads() as counted:
        loss.components(logits, labels)
        if loss.soft_targets:
            loss.components(logits, torch.full_like(logits, 1 / K))
    assert counted.reads == 0


def test_components_of_a_batch_without_labels_are_zero() -> None:
    logits = torch.full((3, K), float("nan"))
    parts = create_loss("jal-ce").components(logits, torch.full((3,), -100))
    assert parts["loss"] == parts["nce"] == parts["amse"] == 0
    assert parts["loss_excess"] == parts["amse_excess"] == 0


@pytest.mark.parametrize("by_class", [None, [3.0] * K, [1.0, 2.0, 0.5, 1.0, 4.0, 0.1]])
def test_excess_is_what_the_loss_has_above_the_floors_of_its_rows(by_class: list[float] | None) -> None:
    logits, labels = _batch(-100)
    logits, labels = logits[labels >= 0], labels[labels >= 0]
    by_row = torch.rand(len(labels), dtype=torch.float64)
    loss = create_loss("jal-ce", weight=by_class)
    # A perfect prediction of every row has the excess 0.
    perfect = 1e3 * torch.nn.functional.one_hot(labels, K).double()
    soft = torch.nn.functional.one_hot(labels, K).double()
    for target in (labels, soft):
        for weight in (None, by_row):
            parts = loss.components(logits, target, weight)
            least = loss.components(perfect, target, weight)
            for name in ("loss", "amse"):
                assert abs(least[f"{name}_excess"]) < 1e-9
                torch.testing.assert_close(
                    parts[f"{name}_excess"], parts[name] - least[name], rtol=1e-9, atol=1e-9
                )
