"""`gradient_scale`: how hard a loss pulls where the prediction is uniform, beside cross entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from jal_hf.cli.main import main
from jal_hf.losses import create_loss, list_losses

# Norms as measured for ten, a hundred and a thousand classes, to the digits that were written down.
NORMS = [
    ("ce", None, "0.95 0.99 1.0"),
    ("gce", None, "0.19 0.040 0.0079"),
    ("nce+rce", None, "0.915 0.094 0.0094"),
    ("agce", None, "0.11 0.012 0.0012"),
    ("nce+agce", "cifar100", "0.45 0.025 0.0018"),
    ("jal-ce", "cifar100", "0.59 0.015 0.00076"),
    ("anl-ce", "cifar100", "0.42 0.022 0.0015"),
]
# Times cross entropy at a hundred classes.
TIMES = [
    ("ce", None, "1.000"),
    ("gce", None, "0.040"),
    ("agce", None, "0.012"),
    ("nce+agce", None, "0.100"),
    ("nce+agce", "cifar100", "0.025"),
    ("nce+rce", None, "0.094"),
    ("nce+rce", "cifar100", "0.031"),
    ("jal-ce", None, "0.008"),
    ("jal-ce", "cifar100", "0.015"),
    ("jal-fl", "cifar100", "0.015"),
    ("anl-ce", "cifar100", "0.022"),
]


def _as_printed(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize(("name", "preset", "norms"), NORMS)
def test_scale_gives_the_norms_that_were_measured(name: str, preset: str | None, norms: str) -> None:
    loss = create_loss(name, preset=preset)
    for classes, norm in zip((10, 100, 1000), norms.split(), strict=True):
        found = loss.gradient_scale(classes) * math.sqrt(1 - 1 / classes)
        assert _as_printed(found, norm) == norm


@pytest.mark.parametrize(("name", "preset", "scale"), TIMES)
def test_scale_is_relative_to_cross_entropy(name: str, preset: str | None, scale: str) -> None:
    assert _as_printed(create_loss(name, preset=preset).gradient_scale(100), scale) == scale


@pytest.mark.parametrize("name", list_losses())
def test_scale_is_the_mean_over_labels_of_the_gradients_norm(name: str) -> None:
    classes = 7
    logits = torch.zeros(classes, classes, dtype=torch.float64, requires_grad=True)
    create_loss(name, reduction="sum")(logits, torch.arange(classes)).backward()
    plain = torch.zeros(classes, classes, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(plain, torch.arange(classes), reduction="sum").backward()
    assert logits.grad is not None
    assert plain.grad is not None
    expected = float(logits.grad.norm(dim=1).mean() / plain.grad.norm(dim=1).mean())
    weighted = create_loss(name, ignore_index=0, weight=[2.0] * classes)
    with torch.no_grad():
        assert weighted.gradient_scale(classes) == pytest.approx(expected, rel=1e-12)


def test_command_prints_the_scale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "gce"]) == 0
    assert "scale       0.2 at 10 classes, 0.04 at 100 classes, 0.0079 at 1000" in capsys.readouterr().out
