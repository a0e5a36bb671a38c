"""Losses that draw: keyed by (seed, step, row), whatever was computed before, in which batch, on which rank."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
import torch._dynamo.testing

from jal_hf.losses import JointLoss, Normalized, RobustLoss, create_loss
from jal_hf.training.criterion import as_compute_loss_func

K = 5
LOSSES = [
    create_loss("nlnl", ln_neg=2, reduction="none"),
    JointLoss("ce", create_loss("nlnl", seed=3), reduction="none"),
]


def _batch(rows: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn(rows, K, generator=generator), torch.randint(K, (rows,), generator=generator)


def _values(loss: RobustLoss, logits: torch.Tensor, labels: torch.Tensor, step: int, rows: torch.Tensor):  # type: ignore[no-untyped-def]
    with loss.drawing(step, rows):
        return loss(logits.clone().requires_grad_(), labels).detach()


@pytest.mark.parametrize("loss", LOSSES, ids=["nlnl", "joint"])
def test_draws_follow_step_and_row_not_history(loss: RobustLoss) -> None:
    logits, labels = _batch()
    rows = torch.tensor([40, 7, 12, 5, 99, 3, 1, 0])
    first = _values(loss, logits, labels, 4, rows)
    other = _values(loss, logits, labels, 5, rows)
    loss.components(logits, labels)
    loss(logits, labels)
    assert torch.equal(_values(pickle.loads(pickle.dumps(loss)), logits, labels, 4, rows), first)
    assert torch.equal(_values(loss, logits, labels, 5, rows), other)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("loss", LOSSES, ids=["nlnl", "joint"])
def test_draws_are_the_same_however_rows_are_split_over_processes(loss: RobustLoss) -> None:
    logits, labels = _batch()
    rows = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:8]
    whole = _values(loss, logits, labels, 3, rows)
    halves = [_values(loss, logits[part], labels[part], 3, rows[part]) for part in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=0, atol=0)
    drawn = {
        tuple(_values(loss, logits[:1].expand(4, -1), labels[:1].expand(4), 3, part).tolist())
        for part in rows.split(4)
    }
    assert len(drawn) == 2


def test_draws_of_a_map_differ_within_a_row() -> None:
    loss = create_loss("nlnl", reduction="none")
    logits, labels = torch.randn(1, K, 1, 1).expand(2, K, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    found = _values(loss, logits, labels, 0, torch.tensor([3, 8]))
    assert len(found[0].unique()) > 1
    assert not torch.equal(found[0], found[1])
    alone = _values(loss, logits[1:], labels[1:], 0, torch.tensor([8]))
    assert torch.equal(alone[0], found[1])


def test_step_outside_a_block_is_zero_again() -> None:
    logits, labels = _batch()
    loss = create_loss("nlnl")
    before = loss(logits, labels)
    with pytest.raises(KeyError), loss.drawing(9, torch.arange(8)):
        raise KeyError
    assert torch.equal(loss(logits, labels), before)
    with loss.drawing(0):
        assert torch.equal(loss(logits, labels), before)
    with loss.drawing(torch.tensor(1)):
        assert not torch.equal(loss(logits, labels), before)


def test_ids_that_do_not_fit_the_batch_are_refused() -> None:
    logits, labels = _batch()
    loss = create_loss("nlnl")
    with loss.drawing(0, torch.arange(3)), pytest.raises(ValueError, match="one id for each row"):
        loss(logits, labels)


def test_losses_that_draw_nothing_ignore_the_block() -> None:
    logits, labels = _batch()
    for loss in (create_loss("jal-ce"), Normalized("gce")):
        with loss.drawing(3, torch.arange(2)):
            assert torch.equal(loss(logits, labels), loss(logits, labels))
            assert loss.draw_key.step is None


def test_draws_of_a_compiled_loss_follow_the_step_without_compiling_again() -> None:
    logits, labels = _batch()
    loss = create_loss("nlnl")
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    for step in range(4):
        with loss.drawing(step):
            torch.testing.assert_close(compiled(logits, labels), loss(logits, labels), rtol=1e-6, atol=0)
    assert counter.frame_count == 1


def _trained(loss: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = loss(logits.clone().requires_grad_(), labels)
    return found.detach()


@pytest.mark.parametrize("loss", LOSSES, ids=["nlnl", "joint"])
def test_plain_loop_draws_anew_at_every_call_and_again_from_the_same_seed(loss: RobustLoss) -> None:
    logits, labels = _batch(32)
    torch.manual_seed(3)
    first, second = _trained(loss, logits, labels), _trained(loss, logits, labels)
    torch.manual_seed(3)
    again = _trained(loss, logits, labels)
    assert torch.equal(first, again)
    # Of 4 classes, a fourth of the single draws is the same by chance.
    assert (first != second).float().mean() > 0.5
    torch.manual_seed(4)
    assert not torch.equal(_trained(loss, logits, labels), first)


def test_plain_loop_draws_every_class_at_a_place_equally_often() -> None:
    loss = create_loss("nlnl", reduction="none")
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(3, -1)
    torch.manual_seed(0)
    drawn = torch.stack([_trained(loss, logits, torch.tensor([0, 1, 3])) for _ in range(1200)])
    for place in drawn.unbind(1):
        _, counts = place.unique(return_counts=True)
        assert len(counts) == 3
        torch.testing.assert_close(counts.float(), torch.full((3,), 400.0), rtol=0.15, atol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=["nlnl", "joint"])
def test_every_gradient_of_a_call_is_of_its_one_draw(loss: RobustLoss) -> None:
    logits, labels = _batch()
    for _ in range(3):
        leaf = logits.double().requires_grad_()
        value = loss(leaf, labels).sum()
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        (plain,) = torch.autograd.grad(value, leaf, retain_graph=True)
        torch.testing.assert_close(gradient, plain, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES, ids=["nlnl", "joint"])
def test_without_a_gradient_or_inside_a_block_no_generator_is_touched(loss: RobustLoss) -> None:
    logits, labels = _batch()
    state = torch.get_rng_state()
    values = [loss(logits, labels)]
    with torch.no_grad():
        values += [loss(logits.clone().requires_grad_(), labels)]
        loss.components(logits.clone().requires_grad_(), labels)
    values += [_values(loss, logits, labels, 0, torch.arange(8))]
    loss.gradient_scale(K)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, values[0]) for value in values)


@pytest.mark.parametrize("batch", [None, 4])
def test_stock_trainer_function_draws_anew_at_every_call(batch: int | None) -> None:
    logits, labels = _batch()
    compute = as_compute_loss_func("nlnl")
    found = [compute({"logits": logits.clone().requires_grad_()}, labels, batch).item() for _ in range(4)]
    assert len(set(found)) > 1
    with torch.no_grad():
        assert compute({"logits": logits}, labels) == compute({"logits": logits}, labels)


def test_draws_outside_a_block_compile_once_and_differ() -> None:
    logits, labels = _batch()
    loss = create_loss("nlnl", reduction="none")
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    torch.manual_seed(1)
    found = [_trained(compiled, logits, labels) for _ in range(3)]
    torch.manual_seed(1)
    expected = [_trained(loss, logits, labels) for _ in range(3)]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert not torch.equal(found[0], found[1])
    assert counter.frame_count == 1


def test_draws_under_vmap_are_as_its_randomness_says() -> None:
    loss = create_loss("nlnl")
    logits, labels = (
        torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]]).expand(16, -1),
        torch.zeros(16, dtype=torch.int64),
    )
    each = torch.func.grad(lambda z, y: loss(z.unsqueeze(0), y.unsqueeze(0)))
    torch.manual_seed(0)
    one = torch.func.vmap(each, randomness="same")(logits, labels)
    many = torch.func.vmap(each, randomness="different")(logits, labels)
    assert len(one.unique(dim=0)) == 1
    assert len(many.unique(dim=0)) > 1
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(each)(logits, labels)
    with loss.drawing(0):
        torch.func.vmap(each)(logits, labels)
