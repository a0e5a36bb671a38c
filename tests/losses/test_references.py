"""Value and gradient of every loss against naive float loops, at parameters and shapes of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jal_hf.losses import create_loss, list_losses
from tests.losses.reference import PARAMETERS, REFERENCES

CASES = [
    (name, params) for name in list_losses() if name != "nlnl" for params in [{}, *PARAMETERS.get(name, [])]
]


def _inputs(num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(3, num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (3,), generator=generator)


def _complete(name: str, params: dict[str, Any]) -> dict[str, Any]:
    return create_loss(name, **params).hyperparameters()


def test_every_loss_has_a_reference() -> None:
    assert set(list_losses()) - {"nlnl"} == set(REFERENCES)


@pytest.mark.parametrize("num_classes", [2, 7])
@pytest.mark.parametrize(("name", "params"), CASES, ids=lambda part: str(part))
def test_loss_agrees_with_naive_loops_in_value_and_gradient(
    name: str, params: dict[str, Any], num_classes: int
) -> None:
    logits, labels = _inputs(num_classes, seed=len(name) + num_classes)
    logits.requires_grad_()
    losses = create_loss(name, reduction="none", **params)(logits, labels)
    losses.sum().backward()
    full, reference = _complete(name, params), REFERENCES[name]
    step = 1e-6
    for row, label in enumerate(labels.tolist()):
        z = logits[row].tolist()
        assert losses[row].item() == pytest.approx(reference(z, label, z, **full), rel=1e-10, abs=1e-12)
        for k in range(num_classes):
            up, down = ([v + sign * step * (j == k) for j, v in enumerate(z)] for sign in (1, -1))
            slope = (reference(up, label, z, **full) - reference(down, label, z, **full)) / (2 * step)
            assert logits.grad is not None
            scale = 1.0 + abs(losses[row].item())
            assert logits.grad[row, k].item() == pytest.approx(slope, rel=2e-5, abs=1e-8 * scale)


@pytest.mark.parametrize("name", [name for name in list_losses() if name != "nlnl"])
def test_loss_in_blocks_equals_loss_row_by_row(name: str) -> None:
    # More logits than fit one block: loss and gradient then come from several blocks.
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(300, 1000, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(1000, (300,), generator=generator)
    loss = create_loss(name, reduction="none")
    losses = loss(logits, labels)
    losses.sum().backward()
    for row in (0, 261, 262, 299):
        alone = logits[row : row + 1].detach().requires_grad_()
        single = loss(alone, labels[row : row + 1])
        single.sum().backward()
        torch.testing.assert_close(losses[row], single[0].detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(logits.grad[row], alone.grad[0], rtol=1e-9, atol=1e-14)
