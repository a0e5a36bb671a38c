"""The L1 decay: its slope beside the gradient, its value beside the loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from jal_hf import JALTrainer, JALTrainingArguments
from jal_hf.training.penalty import add_l1_gradient, differentiable_l1_penalty, l1_penalty
from tests.training.helpers import Examples, timm_model


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3), nn.Linear(3, 2))
    layers[0].weight.data[0] = 0.0
    layers[2].bias.requires_grad_(False)
    return layers


@pytest.mark.parametrize("scale", [None, 1024.0])
def test_added_l1_gradient_is_that_of_the_penalty(scale: float | None) -> None:
    """Also for a parameter outside of the step's graph, and under a loss scale that only the device knows."""
    rows, gradients = torch.randn(6, 5), []
    for by_autograd in (True, False):
        model = network()
        loss = model[:3](rows).square().mean()
        if by_autograd:
            ((scale or 1.0) * (loss + 0.1 * differentiable_l1_penalty(model))).backward()
        else:
            ((scale or 1.0) * loss).backward()
            add_l1_gradient(model.parameters(), 0.1 if scale is None else torch.tensor(0.1 * scale))
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, expected in gradients[0].items():
        given = gradients[1][name]
        if expected is None:
            assert given is None, name
        else:
            torch.testing.assert_close(given, expected, msg=name)


def test_l1_penalty_is_the_sum_of_all_trainable_magnitudes() -> None:
    model = network()
    expected = sum(float(p.detach().double().abs().sum()) for p in model.parameters() if p.requires_grad)
    assert float(l1_penalty(model)) == pytest.approx(expected, rel=1e-6)
    assert not l1_penalty(model).requires_grad


@pytest.mark.parametrize("accumulation", [1, 4])
def test_logged_training_loss_contains_the_penalty_once(accumulation: int, tmp_path: Path) -> None:
    logged = {}
    for decay in (0.0, 0.01):
        torch.manual_seed(0)
        model = timm_model()
        args = JALTrainingArguments(
            output_dir=str(tmp_path / str(decay)), l1_weight_decay=decay, loss="ce", max_steps=1, logging_steps=1,
            per_device_train_batch_size=12 // accumulation, gradient_accumulation_steps=accumulation,
            save_strategy="no", precision="fp32", use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        penalty = 0.01 * float(l1_penalty(model))
        trainer = JALTrainer(model=model, args=args, train_dataset=Examples())
        trainer.train()
        logged[decay] = trainer.state.log_history[0]["loss"]
    assert logged[0.01] - logged[0.0] == pytest.approx(penalty, rel=1e-4)
