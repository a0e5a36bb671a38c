"""What every registered loss promises, whatever its formula: a new loss is tested here without a line."""

from __future__ import annotations

import json
import pickle
import random
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from jal_hf.losses import (
    AsymmetricMeanSquareErrorLoss,
    JointLoss,
    MeanAbsoluteErrorLoss,
    Normalized,
    RobustLoss,
    create_loss,
    list_losses,
    loss_info,
)
from jal_hf.losses.fused import BLOCK
from jal_hf.losses.scores import Scores

NAMES = list_losses()
DETERMINISTIC = [name for name in NAMES if not loss_info(name).random]
K = 6


def _batch(rows: int = 9, classes: int = K, dtype: torch.dtype = torch.float64) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(rows * classes)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64).to(dtype)
    return logits, torch.randint(classes, (rows,), generator=generator)


def _value_and_gradient(
    loss: RobustLoss, logits: torch.Tensor, *rest: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = logits.clone().requires_grad_()
    with loss.drawing(0):
        value = loss(leaf, *rest)
    value.sum().backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_loss_stays_finite_when_logits_saturate(name: str, dtype: torch.dtype) -> None:
    rows = [[0.0] * K]
    for high in (0, K - 1):
        for low in (-1e4, 0.0):
            row = [low] * K
            row[high] = 1e4
            rows.append(row)
    rows += [[1e4] * K, [-1e4] * K, [1e4, 1e4, *[-1e4] * (K - 2)]]
    for label in range(K):
        logits = torch.tensor(rows, dtype=dtype)
        value, gradient = _value_and_gradient(create_loss(name), logits, torch.full((len(rows),), label))
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("a", [1.0, 2.0])
@pytest.mark.parametrize("q", [0.3, 0.5, 1.0, 3.0])
def test_amse_stays_finite_at_saturation_for_every_power(a: float, q: float) -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4], [40.0, 0.0, -40.0], [0.0, 0.0, 0.0]])
    for label in range(3):
        value, gradient = _value_and_gradient(create_loss("amse", a=a, q=q), logits, torch.full((3,), label))
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(9, K), (300, 1000)])
def test_loss_of_half_precision_is_float32_and_equals_that_of_the_upcast_logits(
    name: str, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    logits, labels = _batch(*shape, dtype=dtype)
    value, gradient = _value_and_gradient(create_loss(name), logits, labels)
    expected, upcast_gradient = _value_and_gradient(create_loss(name), logits.float(), labels)
    assert value.dtype is torch.float32
    assert gradient.dtype is dtype
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, upcast_gradient.to(dtype))


@pytest.mark.parametrize("name", NAMES)
def test_loss_keeps_full_precision_under_autocast(name: str) -> None:
    logits, labels = _batch(dtype=torch.float32)
    expected = create_loss(name)(logits, labels)
    _, expected_gradient = _value_and_gradient(create_loss(name), logits, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = create_loss(name)(logits, labels)
        _, gradient = _value_and_gradient(create_loss(name), logits, labels)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=0)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_loss_does_not_depend_on_the_order_of_rows_or_classes(name: str) -> None:
    logits, labels = _batch()
    expected, gradient = _value_and_gradient(create_loss(name, reduction="none"), logits, labels)
    rows, classes = torch.randperm(9), torch.randperm(K)
    moved = logits[rows][:, classes]
    value, moved_gradient = _value_and_gradient(
        create_loss(name, reduction="none"), moved, classes.argsort()[labels[rows]]
    )
    torch.testing.assert_close(value, expected[rows], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(moved_gradient, gradient[rows][:, classes], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_loss_survives_its_config_and_a_pickle(name: str) -> None:
    loss = create_loss(name, reduction="sum", ignore_index=3, weight=[1.0, 2.0, 0.5, 1.0, 1.0, 3.0])
    config = json.loads(json.dumps(loss.config()))
    logits, labels = _batch()
    expected = pickle.loads(pickle.dumps(loss))(logits, labels)
    rebuilt = create_loss(**config)
    assert rebuilt.config() == config
    torch.testing.assert_close(rebuilt(logits, labels), expected, rtol=0, atol=0)


def test_compositions_survive_their_config() -> None:
    logits, labels = _batch()
    for loss in (
        JointLoss("fl", create_loss("amse", a=3.0), alpha=0.3, beta=2.0),
        Normalized(create_loss("gce", q=0.4)),
        JointLoss(Normalized("gce"), "mae"),
        create_loss("normalized(agce)", a=2.0, reduction="sum"),
    ):
        rebuilt = create_loss(**json.loads(json.dumps(loss.config())))
        torch.testing.assert_close(rebuilt(logits, labels), loss(logits, labels), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_loss_touches_no_global_state_and_no_input(name: str) -> None:
    logits, labels = _batch()
    kept, state, python_state = logits.clone(), torch.get_rng_state(), random.getstate()
    _value_and_gradient(create_loss(name), logits, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python_state
    assert torch.equal(logits, kept)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_loss_compiles_without_graph_breaks(name: str) -> None:
    torch._dynamo.reset()
    logits, labels = _batch()
    compiled = torch.compile(create_loss(name), fullgraph=True, backend="aot_eager")
    value, gradient = _value_and_gradient(compiled, logits, labels)
    expected, expected_gradient = _value_and_gradient(create_loss(name), logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jal-ce", "jal-fl", "anl-fl", "nlnl", "ldr"])
def test_loss_compiles_with_inductor(name: str) -> None:
    torch._dynamo.reset()
    logits, labels = _batch(dtype=torch.float32)
    value, gradient = _value_and_gradient(torch.compile(create_loss(name), fullgraph=True), logits, labels)
    expected, expected_gradient = _value_and_gradient(create_loss(name), logits, labels)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("name", [name for name in DETERMINISTIC if not loss_info(name).has_detached_factors])
def test_gradient_passes_gradcheck(name: str) -> None:
    logits, labels = _batch(rows=4)
    assert torch.autograd.gradcheck(create_loss(name), (logits.requires_grad_(), labels))


@pytest.mark.parametrize("name", NAMES)
def test_closed_form_gives_value_and_gradient_of_the_equation(name: str) -> None:
    logits, labels = _batch(40, 17)
    assert loss_info(name).closed_form
    value, gradient = _value_and_gradient(create_loss(name), 3.0 * logits, labels)
    plain, leaf = create_loss(name), (3.0 * logits).requires_grad_()
    plain._rule = lambda logits: None  # type: ignore[method-assign]
    with plain.drawing(0):
        expected = plain(leaf, labels)
    expected.backward()
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-9, atol=1e-15)


class Doubling:
    def equation(self, scores: Scores) -> torch.Tensor:
        doubled: torch.Tensor = 2.0 * super().equation(scores)  # type: ignore[misc]
        return doubled


class DoubledAMSE(AsymmetricMeanSquareErrorLoss):
    def equation(self, scores: Scores) -> torch.Tensor:
        return 2.0 * super().equation(scores)


class DoubledJoint(JointLoss):
    def equation(self, scores: Scores) -> torch.Tensor:
        return 2.0 * super().equation(scores)


class DoublyMixedAMSE(Doubling, AsymmetricMeanSquareErrorLoss):
    pass


class DoubledAgain(DoubledAMSE):
    """Without an equation of its own."""


@pytest.mark.parametrize(
    ("loss", "as_pair"),
    [
        (DoubledAMSE(), (0.0, 2.0)),
        (DoublyMixedAMSE(), (0.0, 2.0)),
        (DoubledAgain(), (0.0, 2.0)),
        (DoubledJoint("nce", "amse"), (2.0, 2.0)),
        (JointLoss("nce", DoubledAMSE()), (1.0, 2.0)),
    ],
    ids=lambda case: type(case).__name__,
)
def test_subclass_with_another_equation_trains_on_it(loss: RobustLoss, as_pair: tuple[float, float]) -> None:
    logits, labels = _batch(40, 17)
    value, gradient = _value_and_gradient(loss, logits, labels)
    expected, expected_gradient = _value_and_gradient(JointLoss("nce", "amse", *as_pair), logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(loss(logits, labels), value, rtol=1e-12, atol=0)
    assert loss.kernel_terms() is None


def test_subclass_with_another_equation_inherits_no_promise_of_the_first() -> None:
    class Squared(MeanAbsoluteErrorLoss):
        def equation(self, scores: Scores) -> torch.Tensor:
            return super().equation(scores).square()

    assert Squared.symmetric is False
    assert Squared().asymmetry_ratio() is None
    assert DoubledAMSE().floor(10) == 0.0
    assert DoubledAMSE().with_a() is None

    class Alike(MeanAbsoluteErrorLoss):
        """Without an equation of its own."""

    assert Alike.slope is MeanAbsoluteErrorLoss.slope
    assert Alike().asymmetry_ratio() == 1.0


class TemperedLoss(RobustLoss):
    """Learns its temperature, as a parameter or as a tensor that is none."""

    def __init__(self, *, registered: bool) -> None:
        super().__init__()
        plain = torch.ones((), dtype=torch.float64)
        self.temperature = torch.nn.Parameter(plain) if registered else plain.requires_grad_()

    def equation(self, scores: Scores) -> torch.Tensor:
        return -scores.label(torch.log_softmax(scores.logits / self.temperature, dim=1))


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("joint", [True, False])
def test_loss_that_learns_gets_its_gradient_in_batches_of_any_size(registered: bool, joint: bool) -> None:
    logits, labels = _batch(400, 1000)
    assert logits.numel() > BLOCK
    tempered = TemperedLoss(registered=registered)
    loss = JointLoss(tempered, "mae", beta=0.0) if joint else tempered
    loss(logits.requires_grad_(), labels).backward()
    # d/dT of -log softmax(z / T) at T = 1.
    p = torch.softmax(logits.detach(), dim=1)
    expected = (
        logits.detach().gather(1, labels.unsqueeze(1)) - (p * logits.detach()).sum(1, keepdim=True)
    ).mean()
    torch.testing.assert_close(tempered.temperature.grad, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        logits.grad, _value_and_gradient(create_loss("ce"), logits.detach(), labels)[1]
    )


def test_joint_of_a_part_without_slope_is_left_to_autograd() -> None:
    logits, labels = _batch(300, 1000)
    value, gradient = _value_and_gradient(JointLoss("ldr", "mae"), logits, labels)
    parts = [_value_and_gradient(create_loss(name), logits, labels) for name in ("ldr", "mae")]
    torch.testing.assert_close(value, parts[0][0] + parts[1][0], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, parts[0][1] + parts[1][1], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_transforms_of_torch_func_give_the_gradient(name: str) -> None:
    logits, labels = _batch()
    loss, each = create_loss(name), create_loss(name, reduction="none")
    _, expected = _value_and_gradient(loss, logits, labels)

    def close(found: torch.Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)

    with loss.drawing(0), each.drawing(0):
        close(torch.func.grad(loss)(logits, labels))
        close(torch.func.jacrev(each)(logits, labels).mean(0))
        close(torch.autograd.functional.jacobian(lambda z: loss(z, labels), logits, vectorize=True))
        close(torch.autograd.functional.jacobian(lambda z: each(z, labels), logits, vectorize=True).mean(0))
        by_row = torch.func.vmap(torch.func.grad(lambda z, y: loss(z.unsqueeze(0), y.unsqueeze(0))))(
            logits, labels
        )
    if name in DETERMINISTIC:
        close(by_row / len(logits))
    if loss.soft_targets:
        soft = torch.softmax(logits.flip(0), dim=1)
        _, expected = _value_and_gradient(loss, logits, soft)
        close(torch.func.grad(loss)(logits, soft))
        by_row = torch.func.vmap(torch.func.grad(lambda z, t: loss(z.unsqueeze(0), t.unsqueeze(0))))(
            logits, soft
        )
        close(by_row / len(logits))


def test_transforms_of_torch_func_skip_and_weigh_rows() -> None:
    logits, labels = _batch()
    labels[2::3] = -100
    weights = torch.rand(len(labels), dtype=torch.float64)
    loss = create_loss("jal-ce", weight=[1.0, 2.0, 0.5, 1.0, 4.0, 0.1])
    _, expected = _value_and_gradient(loss, logits, labels, weights)
    found = torch.func.grad(loss)(logits, labels, weights)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)
    curve = torch.func.hessian(loss)(logits, labels, weights)
    twice = torch.autograd.functional.hessian(lambda z: loss(z, labels, weights), logits)
    torch.testing.assert_close(curve, twice, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["jal-ce", "jal-fl", "nce", "amse", "mae", "anl-ce", "ldr", "ce+lc"])
@pytest.mark.parametrize("shape", [(4, K), (300, 1000)])
def test_second_derivative_is_that_of_the_formula(name: str, shape: tuple[int, int]) -> None:
    logits, labels = _batch(*shape)
    leaf = logits.requires_grad_()
    loss = create_loss(name)
    (slope,) = torch.autograd.grad(loss(leaf, labels), leaf, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), leaf)
    plain = loss.equation(Scores(leaf, labels)).mean()
    (plain_slope,) = torch.autograd.grad(plain, leaf, create_graph=True)
    (plain_curve,) = torch.autograd.grad(plain_slope.square().sum(), leaf)
    torch.testing.assert_close(curve, plain_curve, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["jal-ce", "nfl+rce", "ldr", "nlnl"])
@pytest.mark.parametrize("shape", [(5, K), (300, 1000)])
def test_second_backward_through_a_retained_graph_gives_the_same_gradient(
    name: str, shape: tuple[int, int]
) -> None:
    logits, labels = _batch(*shape)
    leaf = logits.requires_grad_()
    value = create_loss(name)(leaf, labels)
    (first,) = torch.autograd.grad(value, leaf, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(3.0 * value, leaf)
    assert torch.equal(first, kept)
    torch.testing.assert_close(second, 3.0 * kept, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_segmentation_shapes_give_the_loss_of_their_pixels(name: str) -> None:
    logits = torch.randn(2, K, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(K, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    labels[0, 1] = -100
    losses, gradient = _value_and_gradient(create_loss(name, reduction="none"), logits, labels)
    assert losses.shape == labels.shape
    assert (losses[0, 1] == 0).all()
    assert (gradient[0, :, 1] == 0).all()
    one = create_loss(name)(logits[1, :, 2, 3].unsqueeze(0), labels[1, 2, 3].unsqueeze(0))
    torch.testing.assert_close(losses[1, 2, 3], one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_batch_with_every_label_ignored_gives_zero_loss_and_zero_gradient(name: str, reduction: str) -> None:
    logits, _ = _batch()
    loss = create_loss(name, reduction=reduction)
    value, gradient = _value_and_gradient(loss, logits, torch.full((9,), -100))
    assert (value == 0).all()
    assert (gradient == 0).all()
    assert loss.sum_and_weight(logits, torch.full((9,), -100))[1] == 0


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_ignored_rows_count_nothing_even_when_they_hold_infinities(name: str) -> None:
    logits, labels = _batch()
    expected = create_loss(name)(logits[:6], labels[:6])
    logits[6:] = float("nan")
    labels[6:] = 255
    value = create_loss(name, ignore_index=255)(logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_ignore_index_may_be_a_class(name: str) -> None:
    logits, labels = _batch()
    kept = labels != 2
    assert not kept.all()
    value = create_loss(name, ignore_index=2)(logits, labels)
    torch.testing.assert_close(value, create_loss(name)(logits[kept], labels[kept]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_weights_average_as_repeated_rows_would(name: str) -> None:
    logits, labels = _batch()
    counts = torch.tensor([1, 2, 0, 3, 1, 1, 2, 1, 1])
    value = create_loss(name)(logits, labels, sample_weight=counts)
    repeated = create_loss(name)(logits.repeat_interleave(counts, 0), labels.repeat_interleave(counts))
    torch.testing.assert_close(value, repeated, rtol=1e-12, atol=1e-14)
    by_class = torch.tensor([1.0, 2.0, 0.5, 1.0, 4.0, 0.0])
    losses = create_loss(name, reduction="none")(logits, labels)
    weighted = create_loss(name, weight=by_class)(logits, labels)
    expected = (losses * by_class[labels]).sum() / by_class[labels].sum()
    torch.testing.assert_close(weighted, expected, rtol=1e-6, atol=1e-9)


def test_cross_entropy_equals_torch_with_every_option() -> None:
    logits, labels = _batch(12)
    labels[3] = -100
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 4.0, 0.1], dtype=torch.float64)
    soft = torch.softmax(torch.randn(12, K, dtype=torch.float64), 1)
    for reduction in ("mean", "sum", "none"):
        loss = create_loss("ce", weight=weight.tolist(), reduction=reduction)
        loss.weight = weight
        for target in (labels, soft):
            expected = F.cross_entropy(logits, target, weight=weight, reduction=reduction)
            torch.testing.assert_close(loss(logits, target), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_totals_of_parts_add_up_to_the_mean_of_the_whole(name: str) -> None:
    logits, labels = _batch()
    labels[1] = -100
    loss = create_loss(name)
    parts = [
        loss.sum_and_weight(logits[part], labels[part]) for part in (slice(0, 2), slice(2, 7), slice(7, 9))
    ]
    total, normaliser = (sum(values) for values in zip(*parts, strict=True))
    assert normaliser == 8
    torch.testing.assert_close(total / normaliser, loss(logits, labels), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_class_losses_hold_the_loss_of_every_label(name: str) -> None:
    logits, _ = _batch()
    loss = create_loss(name, reduction="none")
    by_label = torch.stack([loss(logits, torch.full((9,), k)) for k in range(K)], dim=1)
    torch.testing.assert_close(loss.class_losses(logits), by_label, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_normalised_loss_sums_to_one_over_labels(name: str) -> None:
    logits, _ = _batch()
    sums = Normalized(create_loss(name)).class_losses(logits).sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_empty_batch_gives_zero(name: str) -> None:
    logits = torch.zeros(0, K, requires_grad=True)
    value = create_loss(name)(logits, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value == 0


@pytest.mark.parametrize("name", NAMES)
def test_components_hold_the_mean_loss_and_carry_no_gradient(name: str) -> None:
    logits, labels = _batch()
    loss = create_loss(name)
    parts = loss.components(logits.requires_grad_(), labels)
    assert all(not value.requires_grad for value in parts.values())
    if name in DETERMINISTIC:
        torch.testing.assert_close(parts["loss"], loss(logits, labels).detach(), rtol=1e-12, atol=1e-13)


def test_components_of_jal_tell_the_excess_over_the_floor() -> None:
    logits = torch.full((1, 10), -1e3)
    logits[0, 4] = 1e3
    parts = (
        create_loss("jal-ce")(logits, torch.tensor([4])),
        create_loss("jal-ce").components(logits, torch.tensor([4])),
    )
    assert parts[0].item() == pytest.approx(84.1)
    assert parts[1]["amse"].item() == pytest.approx(84.1)
    assert parts[1]["amse_excess"].item() == pytest.approx(0.0, abs=1e-5)
    assert parts[1]["loss_excess"].item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("name", ["jal-ce", "nfl+rce", "anl-fl", "ldr", "ce+lc", "nlnl"])
def test_gradient_does_not_depend_on_threads_blocks_or_reduction(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels = _batch(90, 1000)
    expected = _value_and_gradient(create_loss(name, reduction="none"), logits, labels)
    for block in (1 << 12, 1 << 20):
        monkeypatch.setattr("jal_hf.losses.fused.BLOCK", block)
        for reduction, divisor in (("sum", 1), ("mean", 90)):
            value, gradient = _value_and_gradient(create_loss(name, reduction=reduction), logits, labels)
            torch.testing.assert_close(value, expected[0].sum() / divisor, rtol=1e-12, atol=0)
            torch.testing.assert_close(gradient, expected[1] / divisor, rtol=1e-10, atol=1e-16)


def test_incoming_gradient_scales_a_mean_whose_share_is_in_the_gradient_already() -> None:
    logits, labels = _batch(90, 1000)
    leaf = logits.clone().requires_grad_()
    (3.0 * create_loss("jal-ce")(leaf, labels)).backward()
    _, gradient = _value_and_gradient(create_loss("jal-ce"), logits, labels)
    torch.testing.assert_close(leaf.grad, 3.0 * gradient, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("name", ["nnce", "nnfl", "anl-ce", "anl-fl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negative_losses_are_finite_where_no_class_exceeds_their_eps(name: str, dtype: torch.dtype) -> None:
    loss = create_loss(name, eps=1e-2)
    generator = torch.Generator().manual_seed(0)
    # The last row is uniform over 100 of the classes, at eps itself.
    logits = 0.1 * torch.randn(4, 200, generator=generator, dtype=dtype)
    logits[3] = 0.0
    logits[3, 100:] = -torch.inf
    logits[3] = logits[3].clamp_min(-1e4)
    labels = torch.tensor([0, 5, 199, 7])
    soft = torch.full_like(logits, 1 / 200)
    for target in (labels, soft):
        value, gradient = _value_and_gradient(loss, logits, target)
        plain = loss(logits, target)
        leaf = logits.clone().requires_grad_()
        by_graph = torch.func.grad(loss)(leaf, target)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()
        torch.testing.assert_close(plain, value)
        torch.testing.assert_close(by_graph, gradient, rtol=1e-5, atol=1e-7)
        if not loss.parts:
            torch.testing.assert_close(value, torch.tensor(1 - 1 / 200, dtype=dtype))
            assert (gradient == 0).all()
    assert torch.isfinite(loss.class_losses(logits)).all()
