"""Each method's equation against a naive loop, and what it refuses in a training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jal_hf import JALTrainingArguments, create_loss
from jal_hf.training import RobustTrainer
from jal_hf.training.methods import Method, Setting, create_method
from jal_hf.training.methods.elr import lambda_for
from jal_hf.training.methods.method import for_the_loss
from jal_hf.training.methods.mixing import Mixing
from jal_hf.training.methods.strong_view import (
    COLOURS,
    MOVEMENTS,
    UNIFORMS,
    Colours,
    strong_draws,
    strong_view,
)
from jal_hf.training.methods.twin import consistency_for
from tests.methods.helpers import trainer, view, weights_of

ROWS, CLASSES = 6, 4


def begun(name: str, loss: str = "ce", **parameters: Any) -> Method:
    method = create_method(name, parameters)
    said: list[str] = []
    method.begin(
        Setting(
            model=nn.Linear(2, 2),
            criterion=create_loss(loss),
            num_classes=CLASSES,
            rows=ROWS,
            say=said.append,
        )
    )
    return method


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(ROWS, CLASSES, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.tensor([0, 1, 2, 3, -100, 1])


def test_elr_term_is_the_papers_over_two_visits() -> None:
    method, (logits, labels) = begun("elr", **{"lambda": 2.0, "beta": 0.7, "ramp": 0.0}), batch()
    targets = torch.zeros(ROWS, CLASSES, dtype=torch.float64)
    for _ in range(2):
        expected = 0.0
        for row in range(ROWS):
            p = logits[row].detach().softmax(0).clamp(1e-4, 1 - 1e-4)
            targets[row] = 0.7 * targets[row] + 0.3 * p / p.sum()
            if labels[row] != -100:
                expected += 2.0 * math.log(1 - float((p * targets[row]).sum()))
        found = method.terms(view(logits, labels))["elr"]
        assert float(found.detach()) == pytest.approx(
            expected, rel=1e-3
        )  # targets are kept in half precision
        method.after_step(nn.Identity(), step=1)
    assert not method.state_dict()["rows"][4].any()


def test_elr_gradient_is_that_of_the_lemma() -> None:
    method, (logits, labels) = begun("elr", **{"lambda": 1.0, "beta": 0.0, "ramp": 0.0}), batch()
    method.terms(view(logits, labels))["elr"].backward()
    p = logits.detach().softmax(1)
    inner = (p * p).sum(1, keepdim=True)
    expected = p * (inner - p) / (1 - inner) * (labels != -100)[:, None]
    torch.testing.assert_close(logits.grad, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["elr", "twin"])
def test_row_counts_in_terms_as_its_label_does_in_the_loss(name: str) -> None:
    # The rows' earlier targets would tell the two passes apart.
    method = begun(name, ramp=0.0, **({"beta": 0.0} if name == "elr" else {}))
    logits, labels = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])

    def terms(rows: slice, **changes: Any) -> dict[str, float]:
        both = torch.cat([logits[rows], logits[rows].flip(1)]) if name == "twin" else logits[rows]
        target = torch.cat([labels[rows]] * 2) if name == "twin" else labels[rows]
        given = view(both, target, index=torch.arange(ROWS)[rows], **changes)
        return {key: float(term.detach()) for key, term in method.terms(method.after_forward(given)).items()}

    for key, found in terms(slice(0, 5), class_weight=weight).items():
        alone = [float(weight[row]) * terms(slice(row, row + 1))[key] for row in range(4)]
        assert found == pytest.approx(sum(alone), rel=1e-4)


def test_elr_lambda_follows_the_loss() -> None:
    assert lambda_for(create_loss("ce"), 10) == 3.0
    assert lambda_for(create_loss("jal-ce", preset="cifar10"), 10) == pytest.approx(0.264)
    assert lambda_for(create_loss("jal-ce", preset="mnist"), 10) < 0.03
    assert 0.3 < lambda_for(create_loss("gce", q=0.2), 10) < 3.0


def test_twin_weights_follow_the_loss_unless_they_are_given() -> None:
    def weights(loss: str, **asked: Any) -> tuple[float, float]:
        params = begun("twin", loss, **asked).config()["params"]
        return params["consistency"], params["balance"]

    assert consistency_for(create_loss("jal-ce", preset="cifar10"), 10) == 1.0
    mnist = create_loss("jal-ce", preset="mnist")
    steepest = max(slope_at_right_label(mnist, 0.1 * tenths) for tenths in range(1, 10))
    assert consistency_for(mnist, 10) == 0.0827 == pytest.approx(steepest, rel=0.01)
    consistency, balance = weights("mae")
    assert 0 < consistency < 1
    assert balance == pytest.approx(consistency / 10)
    assert weights("mae", consistency=2.0) == (2.0, balance)
    assert weights("mae", balance=0.0) == (consistency, 0.0)


def slope_at_right_label(loss: nn.Module, confidence: float) -> float:
    """The gradient's norm by finite differences, 10 classes."""
    logits = torch.zeros(10, dtype=torch.float64)
    logits[0] = math.log(9 * confidence / (1 - confidence))
    shifts = 1e-5 * torch.eye(10, dtype=torch.float64)
    rows = torch.cat([logits + shifts, logits - shifts])
    label = torch.zeros(1, dtype=torch.int64)
    up, down = torch.stack([loss(row[None], label) for row in rows]).chunk(2)
    return float(((up - down) / 2e-5).norm())


def test_twin_terms_are_divergence_and_the_slope_of_the_balance() -> None:
    method, (logits, labels) = begun("twin", consistency=1.5, balance=0.4, ramp=0.0), batch()
    weak, strong = logits, (logits * 0.3).detach().flip(1).requires_grad_()
    given = view(torch.cat([weak, strong]), torch.cat([labels, labels]), index=None)
    pi = torch.tensor([0.1, 0.2, 0.3, 0.4])
    method.marginal.running = torch.stack([pi, torch.full((4,), 0.25)])
    terms = method.terms(method.after_forward(given))
    divergence = 0.0
    for row in range(ROWS):
        if labels[row] == -100:
            continue
        q = weak[row].detach().softmax(0) / pi
        q = q / q.sum()
        divergence += float((q * (q.log() - strong[row].detach().softmax(0).log())).sum())
    assert float(terms["consistency"].detach()) == pytest.approx(1.5 * divergence, rel=1e-6)
    # Where pi is the batch's own mean, the tangent is the balance term itself, value and gradient.
    counted = labels != -100
    mean = weak.detach().softmax(1)[counted].mean(0)
    method.marginal.running = torch.stack([mean.float(), torch.full((4,), 0.25)])
    (found,) = torch.autograd.grad(method.terms(method.after_forward(given))["balance"], weak)
    term = -0.4 * weak.softmax(1)[counted].mean(0).log().mean() * counted.sum()
    (expected,) = torch.autograd.grad(term, weak)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_twin_wants_nothing_of_the_weak_view_by_consistency() -> None:
    method, (logits, labels) = begun("twin", balance=0.0), batch()
    both = torch.cat([logits, logits.detach().flip(1)])
    terms = method.terms(method.after_forward(view(both, torch.cat([labels, labels]))))
    (gradient,) = torch.autograd.grad(terms["consistency"], logits, allow_unused=True)
    assert not gradient.any()


def test_marginal_follows_the_global_batch_and_the_labels() -> None:
    whole, halves = begun("twin", prior="labels"), begun("twin", prior="labels")
    logits, labels = batch()
    whole.marginal.both(logits)
    halves.marginal.both(logits)
    whole.marginal.watch(logits.softmax(1), view(logits, labels))
    for part in (slice(0, 2), slice(2, 6)):
        halves.marginal.watch(logits[part].softmax(1), view(logits[part], labels[part]))
    for method in (whole, halves):
        method.after_step(nn.Identity(), step=1)
    torch.testing.assert_close(whole.marginal.running, halves.marginal.running)
    expected = 0.1 * 0.25 + 0.9 * torch.tensor([1, 2, 1, 1]) / 5
    torch.testing.assert_close(whole.marginal.running[1], expected)


def test_gate_keeps_rows_whose_debiased_prediction_is_the_label_after_the_warmup() -> None:
    method, (logits, labels) = begun("gate", warmup=0.4), batch()
    pi = torch.tensor([0.01, 0.3, 0.3, 0.39])
    method.marginal.running = torch.stack([pi, torch.full((4,), 0.25)])
    expected = [float((logits[i].detach().softmax(0) / pi).argmax() == labels[i]) for i in range(ROWS)]
    assert 0 < sum(expected) < ROWS
    assert method.row_weights(view(logits, labels)).tolist() == expected
    assert method.row_weights(view(logits, labels, progress=0.3)) is None


def test_refurbished_targets_start_at_the_label_and_move_to_the_prediction() -> None:
    method, (logits, labels) = begun("refurbish", alpha=0.9, start=0.2), batch()
    assert method.targets(view(logits, labels, progress=0.1)) is labels
    p = logits.detach().softmax(1)
    targets, mean = torch.eye(4, dtype=torch.float64)[labels.clamp(min=0)], 1.0
    for visit in range(2):
        targets = 0.9 * targets + 0.1 * p
        seen, weights = for_the_loss(method, view(logits, labels))
        counted = labels != -100
        torch.testing.assert_close(seen.targets[counted], targets[counted], rtol=0, atol=1e-3)
        sure = targets.amax(1)[counted]
        torch.testing.assert_close(weights.double()[counted], sure / mean, rtol=0, atol=1e-3)
        assert weights[4] == 0
        assert not method.terms(seen)
        method.after_step(nn.Identity(), step=1)
        mean += 9 / (10 + visit) * (float(sure.mean()) - mean)


@pytest.mark.parametrize("name", ["gate", "refurbish"])
def test_means_over_rows_are_those_without_a_warmup_before_it(name: str) -> None:
    """Cross entropy alone leaves the loss no weight, and the rows are seen all the same."""
    logits, labels = batch()
    means = []
    for method in (begun(name), begun(f"warmup+{name}", warmup={"share": 0.9})):
        for step in (1, 2):
            seen, _ = for_the_loss(method, view(logits, labels, progress=0.4))
            method.terms(seen)
            method.after_step(nn.Identity(), step=step)
        own: Any = method if method.name == name else method.methods[1]  # type: ignore[attr-defined]
        means.append(own.marginal.running if name == "gate" else own.sureness.mean)
    torch.testing.assert_close(means[1], means[0], rtol=0, atol=0)
    assert bool((means[0] != torch.full_like(means[0], 0.25 if name == "gate" else 1.0)).any())


def test_warmup_crosses_from_cross_entropy_to_the_loss() -> None:
    method, (logits, labels) = begun("warmup", "mae", share=0.2, fade=0.4), batch()
    loss, ce = create_loss("mae"), create_loss("ce")
    for progress, part in ((0.1, 1.0), (0.3, 0.75), (0.7, 0.0)):
        seen, weights = for_the_loss(method, view(logits, labels, progress=progress))
        total, _ = loss.sum_and_weight(logits, labels, weights)
        total = total + sum(method.terms(seen).values())
        expected = (
            part * ce.sum_and_weight(logits, labels)[0] + (1 - part) * loss.sum_and_weight(logits, labels)[0]
        )
        torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("progress", [0.1, 0.3])
@pytest.mark.parametrize("targets", ["labels", "probabilities"])
def test_warmup_of_cross_entropy_with_class_weights_is_the_loss_itself(progress: float, targets: str) -> None:
    method, (logits, labels) = begun("warmup", share=0.2, fade=0.4), batch()
    loss = create_loss("ce", weight=[1.0, 2.0, 0.5, 3.0])
    given = view(logits, labels, progress=progress, class_weight=loss.weight)
    if targets == "probabilities":
        # As a method leaves them that puts soft targets in the place of labels.
        given = replace(given, targets=logits.detach().softmax(1), sample_weight=given.counted())
    total, _ = loss.sum_and_weight(logits, given.targets, method.row_weights(given))
    total = total + method.terms(given)["warmup"]
    torch.testing.assert_close(total, loss.sum_and_weight(logits, given.targets, given.sample_weight)[0])


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_keeps_pairs_shares_and_labels_together(name: str) -> None:
    method = begun(name)
    pixels = torch.arange(5.0)[:, None, None, None].expand(5, 1, 8, 8) + 1
    labels = torch.tensor([0, 1, 2, -100, 3])
    content = {"pixel_values": pixels, "labels": labels, "index": torch.tensor([7, 3, 9, 1, 4])}
    mixed = method.change_batch(dict(content), step=2, epoch=0.0)
    mixing: Mixing = mixed["mixing"]
    assert mixing.partner.tolist() == [1, 0, 2, 3, 4]  # an ignored label and the odd one stay alone
    share = mixing.share
    for row in range(5):
        own = float(mixed["pixel_values"][row].mean())
        assert own == pytest.approx(
            float(share[row] * (row + 1) + (1 - share[row]) * (mixing.partner[row] + 1))
        )
    logits = torch.randn(5, CLASSES)
    seen, weights = for_the_loss(method, view(logits, labels, batch=mixed, index=content["index"]))
    for row in (0, 1):
        expected = torch.zeros(CLASSES)
        expected[labels[row]] += float(share[row])
        expected[labels[mixing.partner[row]]] += 1 - float(share[row])
        torch.testing.assert_close(seen.targets[row], expected)
    assert weights.tolist() == [1, 1, 1, 0, 1]
    alone = method.change_batch({name: value[:2] for name, value in content.items()}, step=2, epoch=0.0)
    assert torch.equal(alone["pixel_values"], mixed["pixel_values"][:2])
    other = method.change_batch(dict(content), step=3, epoch=0.0)
    assert not torch.equal(other["mixing"].share, share)


def test_mixup_shares_follow_the_beta_distribution() -> None:
    method = begun("mixup", alpha=0.2)
    content = {"pixel_values": torch.zeros(4000, 1, 1, 1), "labels": torch.zeros(4000, dtype=torch.int64)}
    share = method.change_batch(content, step=0, epoch=0.0)["mixing"].share.numpy()
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.var() == pytest.approx(0.25 / 1.4, abs=0.01)


def test_strong_view_of_a_row_does_not_depend_on_its_batch_and_stays_in_range() -> None:
    pixels = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 4 - 2
    colours = Colours(torch.full((1, 3, 1, 1), 0.5), torch.full((1, 3, 1, 1), 0.25))
    uniforms = np.random.default_rng(0).random((64, UNIFORMS))
    draws = torch.from_numpy(strong_draws(uniforms, with_colours=True))
    strong = strong_view(pixels, draws, colours)
    assert float(strong.min()) >= -2.001
    assert float(strong.max()) <= 2.001
    assert ((strong - pixels).abs().amax(dim=(1, 2, 3)) > 0.1).all()
    torch.testing.assert_close(strong_view(pixels[5:9], draws[5:9], colours), strong[5:9])
    torch.testing.assert_close(strong_view(pixels, draws, colours, apart=True), strong)
    holes = (strong == 0).all(dim=1).float().mean(dim=(1, 2))
    assert 0.05 < float(holes.mean()) < 0.25


@pytest.mark.parametrize("name", [*MOVEMENTS, *COLOURS])
def test_strong_operation_of_no_strength_keeps_the_image_and_full_strength_changes_it(name: str) -> None:
    pixels = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    names = [*MOVEMENTS, *COLOURS]
    kind = (names.index(name) + 0.5) / len(names)
    still = (names.index("identity") + 0.5) / len(names)

    def view_of(strength: float) -> Tensor:
        draws = strong_draws(np.array([[kind, still, strength, 0.5, 0.5, 0.5]] * 2), with_colours=True)
        colours = Colours(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
        return strong_view(pixels, torch.from_numpy(draws), colours, cut=0.0)

    if name not in ("posterize", "solarize", "auto contrast", "equalize"):
        torch.testing.assert_close(view_of(0.5), pixels, rtol=0, atol=1e-5)
    assert (view_of(0.02) - pixels).abs().max() > 1e-3 or name == "identity"


def test_twin_hides_tokens_from_the_second_view_alone() -> None:
    method = begun("twin", hidden=0.5)
    content = {
        "input_ids": torch.ones(4, 20, dtype=torch.int64), "labels": torch.tensor([0, 1, 2, 3]),
        "attention_mask": torch.ones(4, 20, dtype=torch.int64),
    }  # fmt: skip
    doubled = method.change_batch(content, step=0, epoch=0.0)
    assert doubled["input_ids"].shape == (8, 20)
    assert doubled["attention_mask"][:4].all()
    assert 0.3 < float(doubled["attention_mask"][4:].float().mean()) < 0.7
    assert doubled["attention_mask"][4:, 0].all()
    del content["attention_mask"]
    assert "attention_mask" not in method.change_batch(
        content, step=0, epoch=0.0
    )  # which nn.Linear does not take


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("elr", {"rows": None}, None),  # a stream takes the teacher
        ("refurbish", {"rows": None}, "stream has no fixed rows"),
        ("mixup", {"criterion": create_loss("nlnl")}, "class probabilities"),
        ("refurbish", {"criterion": create_loss("nlnl")}, "class probabilities"),
    ],
)
def test_training_that_a_method_cannot_work_in_is_refused(
    name: str, changes: Any, sentence: str | None
) -> None:
    setting = Setting(**{"model": nn.Linear(2, 2), "criterion": create_loss("ce"), "rows": 3, **changes})
    method = create_method(name)
    if sentence is None:
        method.begin(setting)
        assert method.config()["params"]["targets"] == "teacher"
        return
    with pytest.raises(ValueError, match=sentence):
        method.begin(setting)


def test_rows_are_found_by_number_and_strange_ones_are_refused() -> None:
    logits, labels = batch()
    with pytest.raises(ValueError, match="no 'index'"):
        begun("elr").terms(view(logits, labels, index=None))
    with pytest.raises(ValueError, match="Row number 9 is none of the 6 rows"):
        begun("elr").terms(view(logits, labels, index=torch.tensor([0, 1, 2, 3, 4, 9])))
    method = create_method("elr", {"lambda": 1.0})
    said: list[str] = []
    ids = torch.tensor([50, 10, 40, 20, 30, 60])
    method.begin(
        Setting(
            model=nn.Linear(2, 2),
            criterion=create_loss("ce"),
            num_classes=4,
            rows=6,
            row_ids=ids,
            say=said.append,
        )
    )
    assert said == ["Method 'elr' keeps 6 rows x 4 classes in half precision: 0.0 MiB."]
    method.terms(view(logits[:1], labels[:1], index=torch.tensor([40])))
    method.after_step(nn.Identity(), step=1)
    assert method.state_dict()["rows"].any(dim=1).tolist() == [False, False, False, True, False, False]


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


def test_row_numbers_of_a_dataset_of_datasets_need_not_be_its_places(tmp_path: Path) -> None:
    """A part of a numbered dataset, such as what train_test_split leaves, once had no place for its last rows."""
    features = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    rows = datasets.Dataset.from_dict(
        {
            "x": features.tolist(),
            "labels": [row % 2 for row in range(32)],
            "index": list(range(32)),
        }
    ).select(range(8, 32))
    found = RobustTrainer(
        model=Line(),
        args=JALTrainingArguments(
            output_dir=str(tmp_path), max_steps=3, use_cpu=True, disable_tqdm=True, save_strategy="no"
        ),
        train_dataset=rows,
        method="elr",
    )
    assert found.train().global_step == 3
    table = found.method.state_dict()["rows"]
    assert table.shape == (24, 2)
    assert (table.sum(1) > 0).all()


def test_warmup_is_cross_entropy_whatever_the_loss_is_scaled_by(tmp_path: Path) -> None:
    plain = trainer(tmp_path / "ce", "plain")
    plain.criterion = create_loss("ce")
    scaled = trainer(tmp_path / "scaled", create_method("warmup", {"share": 1.0}), loss_scale="gradient")
    assert scaled.loss_scale != 1.0
    for one in (plain, scaled):
        one.train()
    found, expected = weights_of(scaled.model), weights_of(plain.model)
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
