"""The Triton kernels on a CUDA device beside the closed form in double precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from jal_hf.losses import RobustLoss, create_loss, list_losses, on_device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand")

ROUNDING = {torch.float32: 1e-6, torch.float16: 2**-11, torch.bfloat16: 2**-8}
JAL = ["jal-ce", "jal-fl", "nce", "nfl", "amse"]
NAMES = [name for name in list_losses() if create_loss(name).kernel_terms() is not None]


@pytest.fixture(autouse=True)
def kernel_works() -> None:
    """Without it every test here would compare the eager path with itself."""
    pytest.importorskip("triton", reason="Triton is not installed")
    if not on_device.covers(torch.zeros(1, 2, device="cuda")):
        pytest.skip("Triton cannot build a kernel on this device")


def _batch(rows: int, classes: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(rows * classes)
    logits = (3 * torch.randn(rows, classes, generator=generator, device="cuda")).to(dtype)
    labels = torch.randint(classes, (rows,), generator=generator, device="cuda")
    labels[::5] = -100
    return logits, labels


def _value_and_gradient(
    loss: RobustLoss, logits: torch.Tensor, labels: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    (value * scale).sum().backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@pytest.mark.parametrize(
    ("name", "reduction"),
    [(name, reduction) for name in JAL for reduction in ("mean", "sum", "none")]
    + [(name, "mean") for name in NAMES if name not in JAL],
)
@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("shape", [(128, 10), (77, 33), (4096, 1000), (300, 5000), (64, 16384), (64, 32000)])
def test_kernel_agrees_with_the_closed_form_in_double_precision(
    name: str, dtype: torch.dtype, shape: tuple[int, int], reduction: str
) -> None:
    logits, labels = _batch(*shape, dtype)
    loss = create_loss(name, reduction=reduction)
    value, gradient = _value_and_gradient(loss, logits, labels, 1.0)
    expected, exact = _value_and_gradient(loss, logits.double(), labels, 1.0)
    assert gradient.dtype is dtype
    assert value.dtype is torch.float32
    assert (value - expected).abs().max() < 1e-6 * expected.abs().max()
    # An entry under the smallest normal number of float16 is rounded more coarsely.
    error = (gradient.double() - exact).abs() - torch.finfo(dtype).tiny * ROUNDING[dtype] * 2
    # The parts of some losses' gradients cancel where the label is unlikely; float32 has no more digits then.
    roundings = 2 if name not in JAL and dtype is torch.float32 else 1
    assert error.max() <= roundings * ROUNDING[dtype] * exact.abs().max()
    assert not gradient[labels == -100].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradient_follows_the_incoming_one(dtype: torch.dtype) -> None:
    for shape in ((128, 10), (4096, 1000)):
        logits, labels = _batch(*shape, dtype)
        _, gradient = _value_and_gradient(create_loss("jal-ce"), logits, labels, 2.0**16)
        _, exact = _value_and_gradient(create_loss("jal-ce"), logits.double(), labels, 2.0**16)
        assert (gradient.double() - exact).abs().max() < 2 * ROUNDING[dtype] * exact.abs().max()


def test_batch_without_counted_rows_gives_zero() -> None:
    logits, labels = _batch(64, 100, torch.bfloat16)
    value, gradient = _value_and_gradient(create_loss("jal-fl"), logits, torch.full_like(labels, -100), 1.0)
    assert value == 0
    assert not gradient.any()


def test_saturated_logits_stay_finite() -> None:
    for classes in (10, 32000):
        logits = torch.full((3, classes), -1e4, device="cuda")
        logits[:, 1] = 1e4
        for name in NAMES:
            value, gradient = _value_and_gradient(
                create_loss(name), logits, torch.tensor([0, 1, 2], device="cuda"), 1.0
            )
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()


def test_mean_of_many_logits_keeps_no_more_memory_than_cross_entropy() -> None:
    logits, labels = _batch(8192, 8000, torch.bfloat16)
    logits.requires_grad_()
    peaks = []
    for loss in (F.cross_entropy, create_loss("jal-ce")):
        loss(logits, labels).backward()
        logits.grad = None
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss(logits, labels).backward()
        peaks.append(torch.cuda.max_memory_allocated() - before)
        logits.grad = None
    assert peaks[1] <= peaks[0]
