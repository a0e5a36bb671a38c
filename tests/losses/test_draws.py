"""Losses that draw: keyed by (seed, step, row), whatever was computed before, in which batch, on which rank."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch._dynamo.testing

from jal_hf.losses import JointLoss, Normalized, RobustLoss, create_loss

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
