"""Class probabilities as targets: the mean of the loss over the labels, in value and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from jal_hf.losses import JointLoss, Normalized, RobustLoss, create_loss, list_losses, loss_info
from tests.losses.reference import PARAMETERS, REFERENCES

SOFT = [name for name in list_losses() if loss_info(name).soft_targets]
CASES = [(name, params) for name in SOFT for params in [{}, *PARAMETERS.get(name, [])]]
K = 6


def _batch(rows: int = 5, classes: int = K, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and probabilities some of which are 0."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    soft = torch.randn(rows, classes, generator=generator, dtype=torch.float64).relu()
    soft[:, seed % classes] += 0.1
    return logits, soft / soft.sum(1, keepdim=True)


def _value_and_gradient(
    loss: RobustLoss, logits: torch.Tensor, *rest: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, *rest)
    value.sum().backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def test_every_loss_takes_them_but_those_without_a_closed_form() -> None:
    assert set(list_losses()) - set(SOFT) == {"ldr", "nlnl"}


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize(("name", "params"), CASES, ids=lambda part: str(part))
def test_loss_is_the_naive_mean_over_labels_in_value_and_gradient(
    name: str, params: dict[str, Any], classes: int
) -> None:
    logits, soft = _batch(3, classes, seed=len(name))
    loss = create_loss(name, reduction="none", **params)
    losses, gradient = _value_and_gradient(loss, logits, soft)
    full, reference = loss.hyperparameters(), REFERENCES[name]

    def naive(z: list[float], t: list[float], frozen: list[float]) -> float:
        return sum(t[label] * reference(z, label, frozen, **full) for label in range(classes))

    step = 1e-6
    for row in range(3):
        z, t = logits[row].tolist(), soft[row].tolist()
        assert losses[row].item() == pytest.approx(naive(z, t, z), rel=1e-10, abs=1e-12)
        for k in range(classes):
            up, down = ([v + sign * step * (j == k) for j, v in enumerate(z)] for sign in (1, -1))
            slope = (naive(up, t, z) - naive(down, t, z)) / (2 * step)
            scale = 1.0 + abs(losses[row].item())
            assert gradient[row, k].item() == pytest.approx(slope, rel=2e-5, abs=1e-8 * scale)


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("shape", [(9, K), (300, 1000)])
def test_one_hot_rows_give_the_loss_of_the_labels(name: str, shape: tuple[int, int]) -> None:
    logits, _ = _batch(*shape)
    labels = torch.randint(shape[1], (shape[0],), generator=torch.Generator().manual_seed(1))
    for reduction in ("mean", "sum", "none"):
        loss = create_loss(name, reduction=reduction)
        value, gradient = _value_and_gradient(loss, logits, F.one_hot(labels, shape[1]).double())
        expected, exact = _value_and_gradient(loss, logits, labels)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SOFT)
def test_closed_form_is_autograds_gradient_of_the_equation(name: str) -> None:
    logits, soft = _batch(40, 17)
    value, gradient = _value_and_gradient(create_loss(name), logits, soft)
    plain = create_loss(name)
    plain._rule = lambda logits: None  # type: ignore[method-assign]
    expected, exact = _value_and_gradient(plain, logits, soft)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, exact, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", SOFT)
def test_mixed_labels_mix_their_losses(name: str) -> None:
    logits, _ = _batch(8)
    first, second = torch.arange(8) % K, torch.arange(8).flip(0) % K
    share = torch.rand(8, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mixed = share * F.one_hot(first, K) + (1 - share) * F.one_hot(second, K)
    loss = create_loss(name, reduction="none")
    expected = share[:, 0] * loss(logits, first) + (1 - share[:, 0]) * loss(logits, second)
    torch.testing.assert_close(loss(logits, mixed), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", SOFT)
def test_maps_weights_and_totals_count_rows_as_with_labels(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, K, 3, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(K, (2, 3, 4), generator=generator)
    soft = F.one_hot(labels, K).movedim(-1, 1).double()
    weights = torch.rand(2, 3, 4, dtype=torch.float64, generator=generator)
    for given in (None, weights, weights[:, 0, 0]):
        loss = create_loss(name)
        value, gradient = _value_and_gradient(loss, logits, soft, given)
        expected, exact = _value_and_gradient(loss, logits, labels, given)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, exact, rtol=1e-12, atol=1e-12)
        assert loss.sum_and_weight(logits, soft, given)[1] == loss.sum_and_weight(logits, labels, given)[1]
        parts, hard = loss.components(logits, soft, given), loss.components(logits, labels, given)
        torch.testing.assert_close(parts, hard, rtol=1e-11, atol=1e-11)
    assert create_loss(name, reduction="none")(logits, soft).shape == labels.shape


@pytest.mark.parametrize("name", SOFT)
def test_class_weights_weigh_each_labels_share(name: str) -> None:
    logits, soft = _batch()
    by_class = [1.0, 2.0, 0.5, 1.0, 4.0, 0.0]
    loss = create_loss(name, weight=by_class, reduction="none")
    value, gradient = _value_and_gradient(loss, logits, soft)
    shares = soft * torch.tensor(by_class)
    expected = (create_loss(name).class_losses(logits) * shares).sum(1)
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-13)
    plain = create_loss(name, weight=by_class, reduction="none")
    plain._rule = lambda logits: None  # type: ignore[method-assign]
    torch.testing.assert_close(gradient, _value_and_gradient(plain, logits, soft)[1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("loss", [Normalized("gce"), Normalized("amse"), JointLoss(Normalized("ce"), "mae")])
def test_compositions_take_them(loss: RobustLoss) -> None:
    logits, soft = _batch(300, 1000)
    value, gradient = _value_and_gradient(loss, logits, soft)
    leaf = logits.clone().requires_grad_()
    expected = (loss.class_losses(leaf) * soft).sum(1).mean()
    expected.backward()
    torch.testing.assert_close(value, expected.detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("loss", ["ldr", "nlnl", JointLoss("ldr", "mae"), Normalized("nlnl")])
def test_losses_without_a_closed_form_refuse_them(loss: Any) -> None:
    logits, soft = _batch()
    built = create_loss(loss) if isinstance(loss, str) else loss
    with pytest.raises(ValueError, match=f"{built.name.split('(')[0]}.* takes no class probabilities"):
        built(logits, soft)


@pytest.mark.parametrize("bad", [[0.5, 0.4], [1.5, -0.5], [0.0, 0.0], [float("nan"), 1.0]])
def test_rows_that_are_no_distribution_are_refused(bad: list[float]) -> None:
    soft = torch.tensor([[1.0, 0.0], bad, [0.5, 0.5]])
    with pytest.raises(ValueError, match=r"at least 0 and sum to 1 .* row 1 "):
        create_loss("jal-ce")(torch.zeros(3, 2), soft)


@pytest.mark.parametrize("name", SOFT)
def test_row_without_label_counts_nothing_with_weight_zero(name: str) -> None:
    logits, soft = _batch()
    expected, exact = _value_and_gradient(create_loss(name), logits[:4], soft[:4])
    soft[4] = 0.0
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    value, gradient = _value_and_gradient(create_loss(name), logits, soft, weights)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient[:4], exact, rtol=1e-12, atol=1e-13)
    assert not gradient[4].any()


@pytest.mark.parametrize("name", ["ce", "jal-ce", "nce+agce"])
def test_gradient_reaches_the_probabilities_where_it_is_wanted(name: str) -> None:
    logits, soft = _batch()
    soft.requires_grad_()
    create_loss(name, reduction="sum")(logits.requires_grad_(), soft).backward()
    torch.testing.assert_close(soft.grad, create_loss(name).class_losses(logits).detach())
    assert logits.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_a_float32_loss(dtype: torch.dtype) -> None:
    logits, soft = _batch(40, 100)
    value, gradient = _value_and_gradient(create_loss("jal-ce"), logits.to(dtype), soft.to(dtype))
    expected, _ = _value_and_gradient(create_loss("jal-ce"), logits.to(dtype).float(), soft.to(dtype).float())
    assert value.dtype is torch.float32
    assert gradient.dtype is dtype
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", [name for name in SOFT if not loss_info(name).has_detached_factors])
def test_second_derivatives_are_those_of_the_formula(name: str) -> None:
    logits, soft = _batch(3)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: create_loss(name)(z, soft), (logits,))
    if name not in ("ce+lc", "ece", "ece+mae"):
        assert torch.autograd.gradgradcheck(lambda z: create_loss(name)(z, soft), (logits,))


@pytest.mark.parametrize("name", SOFT)
def test_saturated_logits_stay_finite(name: str) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]])
    value, gradient = _value_and_gradient(create_loss(name), logits, torch.full((3, 3), 1 / 3))
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
