"""The theorems against the numeric minimiser, and against each other."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jal_hf.losses import JointLoss, Normalized, RobustLoss, create_loss, list_losses, loss_info
from jal_hf.losses.scores import Scores
from jal_hf.theory import (
    asymmetry_ratio,
    calibration_curves,
    closed_ratio,
    excess_risk_bound,
    is_asymmetric,
    minimizer,
    minimum_a,
    numeric_ratio,
    row_verdict,
)
from jal_hf.theory.simplex import losses_at

FAMILIES: list[tuple[str, dict[str, float]]] = [
    ("amse", {"a": 3.0, "q": 0.5}),
    ("amse", {"a": 3.0, "q": 1.0}),
    ("amse", {"a": 4.0, "q": 2.0}),
    ("amse", {"a": 4.0, "q": 3.0}),
    ("agce", {"a": 0.6, "q": 0.6}),
    ("agce", {"a": 1.0, "q": 1.5}),
    ("aul", {"a": 2.5, "p": 2.0}),
    ("aul", {"a": 2.0, "p": 0.5}),
    ("ael", {"a": 2.5}),
]


def _random_weights(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    drawn = []
    for number in range(count):
        weights = generator.random(int(generator.integers(3, 11))) ** 2
        if number % 2:
            weights[generator.integers(len(weights))] += len(weights) * generator.random()
        drawn.append(weights)
    return drawn


def _disagreements(name: str, params: dict[str, float], count: int) -> tuple[list[Any], int]:
    loss = create_loss(name, **params)
    wrong, asymmetric = [], 0
    for weights in _random_weights(count):
        said = is_asymmetric(loss, weights)
        asymmetric += said
        if said != bool(minimizer(loss, weights)[weights.argmax()] > 1.0 - 1e-5):
            wrong.append(weights)
    return wrong, asymmetric


@pytest.mark.parametrize(("name", "params"), FAMILIES, ids=str)
def test_condition_agrees_with_the_numeric_minimiser(name: str, params: dict[str, float]) -> None:
    wrong, asymmetric = _disagreements(name, params, 60)
    assert wrong == []
    assert asymmetric > 10


@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), FAMILIES, ids=str)
def test_condition_agrees_with_the_numeric_minimiser_on_a_thousand_weights(
    name: str, params: dict[str, float]
) -> None:
    assert _disagreements(name, params, 1000)[0] == []


def test_joint_of_asymmetric_losses_is_asymmetric() -> None:
    joint = JointLoss(create_loss("agce", a=2.0, q=0.5), create_loss("amse", a=6.0), alpha=0.7, beta=0.2)
    checked = 0
    for weights in _random_weights(80):
        if is_asymmetric(joint.active, weights) and is_asymmetric(joint.passive, weights):
            checked += 1
            assert is_asymmetric(joint, weights)
            assert minimizer(joint, weights)[weights.argmax()] > 1.0 - 1e-5
    assert checked > 10


def test_minimiser_of_cross_entropy_is_the_weights_themselves() -> None:
    weights = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(minimizer(create_loss("ce"), weights), weights, atol=1e-5)
    assert not is_asymmetric("ce", weights)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.7, 0.9])
def test_minimiser_of_gce_is_the_power_of_the_weights(q: float) -> None:
    for weights in [np.array([0.6, 0.3, 0.1]), np.array([0.45, 0.449, 0.101]), *_random_weights(6)]:
        exact = weights ** (1.0 / (1.0 - q))
        found = minimizer(create_loss("gce", q=q, eps=1e-300), weights)
        np.testing.assert_allclose(found, exact / exact.sum(), atol=1e-6)
    np.testing.assert_allclose(
        minimizer(create_loss("gce", q=0.5), [0.6, 0.3, 0.1]), np.array([36, 9, 1]) / 46, atol=1e-7
    )


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 1.0), (1.0, 1.0), (6.0, 0.1), (0.01, 1.0)])
def test_minimiser_of_sce_is_where_its_slopes_are_alike(alpha: float, beta: float) -> None:
    loss = create_loss("sce", alpha=alpha, beta=beta)
    for weights in [np.array([0.51, 0.48, 0.01]), np.array([0.6, 0.4, 0.0]), *_random_weights(4)]:
        weights = weights / weights.sum()
        # alpha w_k / u_k + beta A w_k is the same for every k; bisection finds it from the sum of u.
        linear = -beta * math.log(1e-4) * weights
        low, high = float(linear.max()), float(linear.max()) + 1e4
        for _ in range(200):
            middle = (low + high) / 2.0
            is_low = (alpha * weights / np.maximum(middle - linear, 1e-300)).sum() > 1.0
            low, high = (middle, high) if is_low else (low, middle)
        exact = alpha * weights / (high - linear)
        np.testing.assert_allclose(minimizer(loss, weights), exact, atol=2e-6)


@pytest.mark.parametrize(("name", "a"), [("jal-ce", 1.5), ("jal-ce", 1.2), ("jal-fl", 2.0)])
@pytest.mark.parametrize("weights", [[0.6, 0.2, 0.2], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [0.4, 0.35, 0.25]])
def test_minimiser_may_treat_labels_of_equal_weight_differently(
    name: str, a: float, weights: list[float]
) -> None:
    loss, ticks = create_loss(name, a=a), 100
    grid = [(i, j, ticks - i - j) for i in range(ticks + 1) for j in range(ticks + 1 - i)]
    points = torch.tensor(grid, dtype=torch.float64) / ticks
    found = torch.from_numpy(minimizer(loss, weights)).unsqueeze(0)
    risks = losses_at(loss, torch.cat((found, points))) @ torch.tensor(weights, dtype=torch.float64)
    assert risks[0] <= risks[1:].min()


@pytest.mark.parametrize(
    ("name", "params"), [*FAMILIES, ("mae", {}), ("gce", {"q": 1.0}), ("nnce", {})], ids=str
)
def test_minimiser_at_a_vertex_is_exactly_the_vertex(name: str, params: dict[str, float]) -> None:
    for weights in ([0.9, 0.06, 0.04], [0.03, 0.94, 0.03], [0.01, 0.01, 0.01, 0.97]):
        found = minimizer(create_loss(name, **params), weights)
        assert found.tolist() == [float(k == int(np.argmax(weights))) for k in range(len(weights))]


def test_verdict_says_where_the_least_is_neared_beyond_every_double() -> None:
    weights = [0.45, 0.449, 0.101]
    loss = create_loss("anl-ce")
    verdict = row_verdict(loss, weights, 0)
    assert verdict.asymmetric
    assert "log p goes to -inf" in verdict.by
    found = minimizer(loss, weights)
    assert found.max() < 0.6
    # The smallest double is not small enough; log p of -1e6 beside the vertex is.
    near = torch.tensor([[0.0, -50.0, -1e6]], dtype=torch.float64)
    risk = torch.tensor(weights, dtype=torch.float64)
    at_point = losses_at(loss, torch.from_numpy(found).unsqueeze(0))[0] @ risk
    assert loss.equation(Scores(near, None))[0] @ risk < at_point


def test_minimiser_of_amse_is_the_projection_of_its_scaled_weights() -> None:
    # a = 2 and w = (.5, .3, .2): the projection of (1, .6, .4) is (1 - 1/3, .6 - 1/3, .4 - 1/3).
    found = minimizer(create_loss("amse", a=2.0), [0.5, 0.3, 0.2])
    np.testing.assert_allclose(found, np.array([2 / 3, 0.6 - 1 / 3, 0.4 - 1 / 3]), atol=1e-7)


def test_smallest_a_has_the_values_of_the_paper() -> None:
    assert minimum_a(0.8, num_classes=10) == pytest.approx(9.0)
    assert minimum_a(0.8, num_classes=100) == pytest.approx(1 / (1 - 0.8 - 0.8 / 99))
    assert minimum_a([[0.5, 0.5], [0.0, 1.0]]) == math.inf
    assert minimum_a(np.eye(3)) == 1.0
    symmetric = [0.2] + [0.8 / 9] * 9
    assert minimum_a(symmetric, loss="agce", exponent=0.5) == pytest.approx(16 / 65)
    assert minimum_a(symmetric, loss="aul", exponent=2.0) == pytest.approx(9 / 5)
    assert minimum_a(symmetric, loss="ael") == pytest.approx(1 / math.log(9 / 4))


@pytest.mark.parametrize(
    "loss",
    [create_loss("fl", gamma=gamma) for gamma in (0.5, 1.0, 2.0, 5.0)] + [JointLoss("fl", "mae", beta=0.1)],
    ids=lambda loss: str(loss.hyperparameters().get("gamma", "joint")),
)
def test_minimiser_counts_the_factors_that_training_detaches(loss: RobustLoss) -> None:
    weights, ticks = [0.2, 0.7, 0.1], 200
    grid = [(i, j, ticks - i - j) for i in range(ticks + 1) for j in range(ticks + 1 - i)]
    points = torch.tensor(grid, dtype=torch.float64) / ticks
    risks = losses_at(loss, points) @ torch.tensor(weights, dtype=torch.float64)
    found = torch.from_numpy(minimizer(loss, weights))
    assert (
        float(losses_at(loss, found.unsqueeze(0))[0] @ torch.tensor(weights, dtype=torch.float64))
        <= risks.min()
    )
    torch.testing.assert_close(found, points[risks.argmin()], rtol=0, atol=2.0 / ticks)


@given(
    weights=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8),
    q=st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]),
)
@settings(max_examples=60, deadline=None)
def test_smallest_a_is_where_the_condition_turns(weights: list[float], q: float) -> None:
    limit = minimum_a(weights, exponent=q)
    if math.isinf(limit) or limit > 1e6:
        return
    assert is_asymmetric(create_loss("amse", a=limit * (1 + 1e-9) + 1e-12, q=q), weights)
    if limit > 1.0 + 1e-6:
        assert not is_asymmetric(create_loss("amse", a=1.0 + (limit - 1.0) * (1 - 1e-6), q=q), weights)


@pytest.mark.parametrize(
    ("name", "exponent"),
    [("amse", 2.0), ("amse", 3.0), ("amse", 1.5), ("agce", 0.5), ("aul", 2.0), ("ael", None)],
)
def test_smallest_a_itself_is_safe(name: str, exponent: float | None) -> None:
    exponents = {} if exponent is None else {"p" if name == "aul" else "q": exponent}
    for classes in (2, 3, 5, 10, 100):
        for rate in np.linspace(0.01, 0.99 * (classes - 1) / classes, 30).tolist():
            a = minimum_a(rate, classes, loss=name, exponent=exponent)
            if name != "aul" or a > 1.0:
                assert is_asymmetric(create_loss(name, a=max(a, 1e-9), **exponents), rate, classes), (
                    classes,
                    rate,
                )


def test_smallest_a_of_the_paper_is_safe() -> None:
    assert is_asymmetric(create_loss("amse", a=9), 0.8, num_classes=10)
    assert is_asymmetric(create_loss("amse", a=5), [0.6, 0.4])
    assert not is_asymmetric(create_loss("amse", a=9 * (1 - 1e-9)), 0.8, num_classes=10)


def test_noise_is_read_as_rate_matrix_and_object() -> None:
    class Noise:
        def transition_matrix(self) -> np.ndarray:
            return np.array([[0.6, 0.4], [0.1, 0.9]])

    assert minimum_a(Noise()) == pytest.approx(1 / 0.2)
    assert is_asymmetric(create_loss("amse", a=5.1), Noise())
    assert not is_asymmetric(create_loss("amse", a=4.9), Noise())
    assert is_asymmetric(create_loss("jal-ce"), 0.8, num_classes=10)


@pytest.mark.parametrize(
    ("noise", "match"),
    [
        (1.2, "rate"),
        ([[1.0, 0.0]], r"\(K, K\)"),
        ("symmetric:0.4", "create_noise"),
        ([-1.0, 2.0], "at least 0"),
    ],
)
def test_noise_that_is_none_is_refused(noise: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        is_asymmetric("amse", noise, num_classes=10 if noise == 1.2 else None)


@pytest.mark.parametrize(
    ("name", "params", "ratio"),
    [
        ("agce", {"a": 0.6, "q": 0.6}, (0.6 / 1.6) ** 0.4),
        ("agce", {"a": 2.0, "q": 1.0}, 1.0),
        ("aul", {"a": 5.5, "p": 3.0}, (4.5 / 5.5) ** 2),
        ("ael", {"a": 2.5}, math.exp(-0.4)),
        ("mae", {}, 1.0),
    ],
)
def test_numeric_ratio_encloses_the_closed_form(name: str, params: dict[str, float], ratio: float) -> None:
    loss = create_loss(name, **params)
    assert asymmetry_ratio(loss) == (pytest.approx(ratio), pytest.approx(ratio))
    lower, upper = numeric_ratio(loss)
    assert lower == pytest.approx(ratio, abs=0.02)
    assert upper == pytest.approx(ratio, abs=0.02)


@pytest.mark.parametrize(("name", "params"), [("agce", {"a": 1.0, "q": 2.0}), ("aul", {"a": 1.5, "p": 0.5})])
def test_completely_asymmetric_losses_are_classification_calibrated(
    name: str, params: dict[str, float]
) -> None:
    etas = np.linspace(0.0, 1.0, 21)
    least, least_wrong = calibration_curves(create_loss(name, **params), etas)
    gap = least_wrong - least
    assert gap[10] == pytest.approx(0.0, abs=1e-12)
    assert (np.delete(gap, 10) > 1e-4).all()


def test_excess_risk_bound_is_the_excess_over_the_height() -> None:
    assert excess_risk_bound(create_loss("mae"), 0.1) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="no bound"):
        excess_risk_bound(create_loss("ce"), 0.1)


@pytest.mark.parametrize(
    ("loss", "height"),
    [
        (create_loss("agce", a=30.0, q=3.0), (31.0**3 - 30.0**3) / 3.0),
        (create_loss("aul", a=30.0, p=3.0), (30.0**3 - 29.0**3) / 3.0),
        (create_loss("mae", scale=1e4), 1e4),
        (create_loss("gce", q=0.01, eps=1e-300), (1.0 - 1e-300**0.01) / 0.01),
        (create_loss("agce", a=1e-5, q=0.2), ((1.0 + 1e-5) ** 0.2 - 1e-5**0.2) / 0.2),
        (create_loss("sce"), None),
        (create_loss("fl", gamma=3.0), None),
        (JointLoss("ce", "mae", alpha=1e-6), None),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_excess_risk_bound_is_refused_for_unbounded_losses_alone(
    loss: RobustLoss, height: float | None
) -> None:
    if height is None:
        with pytest.raises(ValueError, match=f"{loss.name} has no bound"):
            excess_risk_bound(loss, 0.1)
    else:
        assert excess_risk_bound(loss, 0.1) == pytest.approx(0.2 / height)


@given(data=st.data(), name=st.sampled_from([n for n in list_losses() if loss_info(n).symmetric]))
@settings(max_examples=120, deadline=None)
def test_symmetric_losses_sum_to_a_constant_over_labels(data: st.DataObject, name: str) -> None:
    classes = data.draw(st.integers(2, 12))
    rows = [data.draw(st.lists(st.floats(-8, 8), min_size=classes, max_size=classes)) for _ in range(2)]
    sums = create_loss(name).class_losses(torch.tensor(rows, dtype=torch.float64)).sum(1)
    # RCE, and pairs with it, clamp p at 1e-8.
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-5, atol=1e-12)


@given(
    name=st.sampled_from(["ce", "fl", "gce", "agce", "aul", "ael", "nce", "nfl", "ngce"]),
    share=st.floats(0.05, 0.95),
    label_p=st.floats(0.02, 0.98),
)
@settings(max_examples=100, deadline=None)
def test_active_losses_ignore_the_other_classes_terms(name: str, share: float, label_p: float) -> None:
    # How the rest is split between the other classes changes nothing; of a normalised loss, its numerator.
    plain = {"nce": "ce", "nfl": "fl", "ngce": "gce"}.get(name)
    values = []
    for split in (0.5, share):
        p = torch.tensor([[label_p, (1 - label_p) * split, (1 - label_p) * (1 - split)]], dtype=torch.float64)
        loss = create_loss(name, reduction="none")
        value = loss(p.log(), torch.tensor([0]))
        if plain is not None:
            value = value * create_loss(plain).class_losses(p.log()).sum()
        values.append(value)
    torch.testing.assert_close(values[0], values[1], rtol=1e-9, atol=1e-12)
    assert loss_info(name).active


@pytest.mark.parametrize("name", ["mse", "amse", "rce", "nnce", "nlnl"])
def test_passive_losses_are_registered_as_such(name: str) -> None:
    assert loss_info(name).passive
    assert not loss_info(name).active


def test_normalising_makes_any_loss_symmetric_for_the_theory_too() -> None:
    assert is_asymmetric(Normalized("gce"), [0.5, 0.25, 0.25])


def _least(loss: RobustLoss, weights: list[float]) -> tuple[float, float, torch.Tensor]:
    """(the least risk of many predictions near and far from the vertices, the vertex's own, where the least is)."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.empty(40_000, 1, dtype=torch.float64).uniform_(-2.0, 6.0, generator=generator).exp()
    points = torch.softmax(
        spread * torch.randn(40_000, len(weights), dtype=torch.float64, generator=generator), 1
    )
    vertices = torch.eye(len(weights), dtype=torch.float64)
    risks, at = (
        losses_at(loss, each) @ torch.tensor(weights, dtype=torch.float64) for each in (points, vertices)
    )
    return float(risks.min()), float(at[0]), points[risks.argmin()]


UNLIKE = [[0.45, 0.35, 0.2], [0.6, 0.4, 0.0], [0.6, 0.4, *[0.0] * 8], [0.4, 0.3, 0.2, 0.1]]
ALIKE = [[0.4, 0.3, 0.3], [0.2, *[0.8 / 9] * 9], [1.0, 0.0, 0.0], [0.6, 0.4]]


@pytest.mark.parametrize("name", ["nce", "nfl", "ngce", "mae", "rce", "nnce", "nnfl", "normalized"])
def test_symmetric_loss_is_asymmetric_where_nothing_lies_below_the_vertex(name: str) -> None:
    loss = Normalized("mse") if name == "normalized" else create_loss(name)
    for weights in ALIKE:
        least, vertex, _ = _least(loss, weights)
        assert least > vertex - 1e-6  # RCE clamps p at 1e-8
        assert is_asymmetric(loss, weights)
    for weights in UNLIKE:
        least, vertex, point = _least(loss, weights)
        below = least < vertex - 1e-6
        assert below == (name in ("nce", "nfl", "ngce", "normalized")), point
        assert is_asymmetric(loss, weights) != below
    assert is_asymmetric(loss, 0.8, num_classes=10)


@pytest.mark.parametrize("name", ["jal-ce", "jal-fl", "anl-ce", "nce+mae", "nfl+rce", "nce+agce", "nfl+ael"])
def test_asymmetric_loss_beside_a_normalised_one_falls_towards_the_vertex(name: str) -> None:
    loss, generator = create_loss(name), torch.Generator().manual_seed(0)
    for weights in [*UNLIKE, *ALIKE]:
        assert is_asymmetric(loss, weights)
        # log p reaches far below that of the smallest double: the least is approached there alone.
        count, others = 20_000, len(weights) - 1
        spread = (
            torch.empty(count, others, dtype=torch.float64).uniform_(-4.0, 18.0, generator=generator).exp()
        )
        off = torch.empty(count, 1, dtype=torch.float64).uniform_(-16.0, -0.1, generator=generator).exp()
        log_p = torch.cat([torch.log1p(-off), torch.log_softmax(-spread, dim=1) + off.log()], dim=1)
        risks = loss.equation(Scores(log_p, None)) @ torch.tensor(weights, dtype=torch.float64)
        edges = (1.0, 1e-1, 1e-2, 1e-3, 1e-5, 0.0)
        least = [float(risks[(off[:, 0] < high) & (off[:, 0] >= low)].min()) for high, low in pairwise(edges)]
        assert least == sorted(least, reverse=True)


def test_part_of_weight_zero_counts_nothing() -> None:
    assert not is_asymmetric(JointLoss("nce", "amse", beta=0.0), UNLIKE[0])
    assert is_asymmetric(JointLoss("ce", "mae", alpha=0.0), UNLIKE[0])


def test_every_question_takes_a_loss_by_its_name() -> None:
    loss, weights = create_loss("agce"), [0.5, 0.3, 0.2]
    assert asymmetry_ratio("agce") == asymmetry_ratio(loss)
    assert closed_ratio("agce") == closed_ratio(loss)
    assert numeric_ratio("agce", grid=9) == numeric_ratio(loss, grid=9)
    assert row_verdict("agce", weights, 0) == row_verdict(loss, weights, 0)
    assert excess_risk_bound("agce", 0.1) == excess_risk_bound(loss, 0.1)
    np.testing.assert_array_equal(minimizer("agce", weights), minimizer(loss, weights))
    for named, given_loss in zip(
        calibration_curves("agce", [0.3], 9), calibration_curves(loss, [0.3], 9), strict=True
    ):
        np.testing.assert_array_equal(named, given_loss)
    with pytest.raises(ValueError, match=r"there is no loss named 'agcee'\. Did you mean 'agce'"):
        minimizer("agcee", weights)
