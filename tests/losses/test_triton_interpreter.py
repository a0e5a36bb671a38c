"""The Triton kernels' numerics without a GPU: Triton's interpreter runs them, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from jal_hf.losses import list_losses

pytest.importorskip("triton", reason="Triton is not installed")

# Small limits, so that few classes already fill several blocks; each case goes the public way through the loss.
SCRIPT = """
import json

import torch

from jal_hf.losses import JointLoss, create_loss, list_losses, on_device, triton_kernels

on_device.covers = lambda logits: logits.dtype != torch.float64 and logits.numel() > 0
on_device.SMALL = 500
triton_kernels.ROW_IN_REGISTERS = 32
triton_kernels.BLOCK_OF_LONG_ROW = 32
torch.manual_seed(0)
launched = []
evaluate_rows = triton_kernels.evaluate_rows
triton_kernels.evaluate_rows = lambda *rest, **named: launched.append(1) or evaluate_rows(*rest, **named)


def run(loss, logits, labels, **rest):
    leaf = logits.clone().requires_grad_()
    before = len(launched)
    value = loss(leaf, labels, **rest)
    assert (len(launched) > before) == (logits.dtype != torch.float64), "the kernel was left out"
    (value * 0.7).sum().backward()
    return value.detach(), leaf.grad


def compare(case, loss, logits, labels, **rest):
    value, gradient = run(loss, logits, labels, **rest)
    expected, exact = run(loss, logits.double(), labels, **rest)
    report.append({
        **case,
        "value": float((value - expected).abs().max() / expected.abs().max()),
        "gradient": float((gradient.double() - exact).abs().max() / exact.abs().max()),
        "kept": gradient.dtype is logits.dtype and value.dtype is torch.float32,
        "ignored": float(gradient[labels == -100].abs().sum()) if logits.dim() == 2 else 0.0,
    })


def batch(rows, classes, dtype, spread=3.0):
    generator = torch.Generator().manual_seed(rows * classes)
    logits = (spread * torch.randn(rows, classes, generator=generator)).to(getattr(torch, dtype))
    labels = torch.randint(classes, (rows,), generator=generator)
    labels[1::4] = -100
    return logits, labels


report = []
cases = [(name, classes, dtype, "mean")
         for name in ("jal-ce", "jal-fl") for classes in (2, 10, 33, 90) for dtype in ("float32", "bfloat16")]
cases += [("nce", 10, "float16", "sum"), ("nfl", 90, "float16", "none"), ("amse", 90, "bfloat16", "none"),
          ("amse", 10, "float32", "sum"), ("jal-ce", 90, "float32", "none"), ("jal-fl", 10, "bfloat16", "sum")]
kernels = [name for name in list_losses() if create_loss(name).kernel_terms() is not None]
cases += [(name, classes, "float32", "mean") for name in kernels for classes in (10, 90)]
for name, classes, dtype, reduction in cases:
    case = {"case": [name, classes, dtype, reduction]}
    compare(case, create_loss(name, reduction=reduction), *batch(7, classes, dtype))
for name, params in (
    ("amse", {"a": 1.0, "q": 1.5}), ("amse", {"a": 2.0, "q": 0.5}), ("jal-ce", {"q": 3.0}), ("rce", {"eps": 0.002}),
    ("gce", {"eps": 0.002}), ("ngce", {"eps": 0.002}), ("nnce", {"eps": 0.002}), ("nnfl", {"eps": 0.002, "gamma": 2.0}),
    ("nnfl", {"gamma": 0.0}), ("fl", {"gamma": 0.0}), ("fl", {"gamma": 3.0}), ("aul", {"a": 1.5, "p": 0.5}),
    ("agce", {"a": 0.1, "q": 2.0}), ("ece", {"m": 3.0, "eps": 0.002}), ("efl+mae", {"m": 3.0, "gamma": 0.5}),
    ("efl", {"gamma": 0.0, "m": 2.0}), ("nfl+agce", {"gamma": 1.7, "alpha": 2.0, "beta": 0.5}),
):
    for classes in (10, 90):
        case = {"case": [name, classes, "float32", params]}
        compare(case, create_loss(name, **params), *batch(7, classes, "float32"))
compare({"case": ["joint of any two"]}, JointLoss("ngce", "fl", alpha=0.3), *batch(7, 90, "float32"))
tied = torch.zeros(3, 90)
tied[:, [40, 70]] = 2.0
compare({"case": ["tied argmax"]}, create_loss("ece", m=2.0), tied, torch.tensor([40, 70, 3]))
logits, labels = batch(7, 40, "float32")
compare({"case": ["gamma 2"]}, create_loss("nfl", gamma=2.0), logits, labels)
compare({"case": ["gamma 0"]}, create_loss("nfl", gamma=0.0), logits, labels)
compare({"case": ["strided"]}, create_loss("jal-ce"), logits.t().contiguous().t(), labels)
compare({"case": ["far from zero"]}, create_loss("jal-ce"), logits + 1e4, labels)
compare({"case": ["sample weights"]}, create_loss("jal-ce"), logits, labels, sample_weight=torch.rand(7))
compare({"case": ["class weights"]}, create_loss("jal-ce", weight=torch.rand(40)), logits, labels)
tokens = logits.reshape(1, 7, 40).movedim(2, 1)
compare({"case": ["tokens"]}, create_loss("jal-fl", reduction="none"), tokens, labels.reshape(1, 7))
triton_kernels.LABELS_COUNTED_IN_PLACE = 4
compare({"case": ["labels counted before"]}, create_loss("jal-ce"), logits, labels)

value, gradient = run(create_loss("jal-ce"), logits, torch.full((7,), -100))
all_ignored = [float(value), float(gradient.abs().sum())]
bad = logits.clone()
bad[1] = float("inf")
value, gradient = run(create_loss("jal-ce"), bad, labels)
infinite_ignored = bool(torch.isfinite(value)) and bool(torch.isfinite(gradient).all())
outside = bool(create_loss("jal-ce")(logits.clone().requires_grad_(), torch.full((7,), 40)).isnan())

# No class exceeds eps: every term of the sum is 0.
level, level_labels = 0.1 * torch.randn(3, 200), torch.tensor([0, 199, -100])
nothing = []
for loss in (create_loss("nnce", eps=1e-2), create_loss("nnfl", eps=1e-2), create_loss("nnce", eps=0.5)):
    value, gradient = run(loss, level, level_labels)
    nothing.append([float(value), float(gradient.abs().sum())])

total, counted = create_loss("jal-ce").sum_and_weight(logits.clone().requires_grad_(), labels)
mean = create_loss("jal-ce")(logits, labels)

leaf = logits.clone().requires_grad_()
value = create_loss("jal-ce")(leaf, labels)
(once,) = torch.autograd.grad(value, leaf, retain_graph=True)
(twice,) = torch.autograd.grad(value, leaf)

leaf, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
second = []
for inputs in (leaf, exact):
    (first,) = torch.autograd.grad(create_loss("jal-ce")(inputs, labels), inputs, create_graph=True)
    second.append(torch.autograd.grad(first.square().sum(), inputs)[0])
print(json.dumps({
    "kernels": kernels,
    "report": report, "nothing": nothing,
    "all_ignored": all_ignored, "infinite_ignored": infinite_ignored, "outside": outside,
    "mean_error": float((total / counted - mean).abs() / mean.abs()), "counted": float(counted),
    "again": bool((once == twice).all()),
    "second": float((second[0] - second[1]).abs().max() / second[1].abs().max()),
}))
"""
GRADIENT_ERROR = {"float32": 1e-6, "float16": 2**-11, "bfloat16": 2**-8}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 0, finished.stderr
    parsed: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return parsed


def test_kernels_agree_with_the_closed_form_in_double_precision(results: dict[str, Any]) -> None:
    assert len(results["report"]) == 66 + 2 * len(results["kernels"])
    for case in results["report"]:
        dtype = next((part for part in case["case"] if part in GRADIENT_ERROR), "float32")
        # Half precision rounds once; twice where the mean of many logits is scaled by what comes in.
        roundings = 2 if case["case"][1:] == [90, "bfloat16", "mean"] else 1
        # No label of the batch far from zero is likely, so that the parts of its gradient nearly cancel.
        limit = 2e-6 if case["case"] == ["far from zero"] else roundings * GRADIENT_ERROR[dtype]
        assert case["value"] < 1e-6, case
        assert case["gradient"] < limit, case
        assert case["kept"], case
        assert case["ignored"] == 0.0, case


def test_every_loss_that_gives_its_slope_has_a_kernel(results: dict[str, Any]) -> None:
    assert set(list_losses()) - set(results["kernels"]) == {"ce+lc", "ldr", "nlnl"}


def test_kernels_take_ignored_rows_for_nothing(results: dict[str, Any]) -> None:
    assert results["all_ignored"] == [0.0, 0.0]
    assert results["infinite_ignored"]
    assert results["counted"] == 5
    assert results["mean_error"] < 1e-6


def test_kernels_share_alike_where_no_class_exceeds_eps(results: dict[str, Any]) -> None:
    for value, gradient in results["nothing"]:
        assert value == pytest.approx(1 - 1 / 200, rel=1e-6)
        assert gradient == 0.0


def test_kernels_answer_a_label_outside_the_classes_with_nan(results: dict[str, Any]) -> None:
    assert results["outside"]


def test_kernels_find_a_gradient_anew_when_a_graph_is_kept(results: dict[str, Any]) -> None:
    assert results["again"]


def test_kernels_leave_second_derivatives_to_autograd(results: dict[str, Any]) -> None:
    assert results["second"] < 1e-5
