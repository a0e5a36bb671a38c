"""What people bring from the stock Trainer: outputs in any order, own losses and optimizers, changed arguments."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer
from transformers.modeling_outputs import ModelOutput, TokenClassifierOutput

from jal_hf import JALTrainingArguments, create_loss
from jal_hf.training import RobustTrainer
from jal_hf.training.methods import create_method

ROWS, WIDTH, CLASSES = 64, 6, 4


class Vectors(Dataset):  # type: ignore[type-arg]
    """Seeded rows of numbers whose class a linear map tells."""

    def __init__(self, rows: int = ROWS, extras: bool = False, has_labels: bool = True) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(rows, WIDTH, generator=generator)
        self.y = (self.x @ torch.randn(WIDTH, CLASSES, generator=generator)).argmax(1)
        self.extras, self.has_labels = extras, has_labels

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        found = {"x": self.x[row]}
        if self.has_labels:
            found["labels"] = self.y[row]
        if self.extras:
            found |= {"index": torch.tensor(row), "clean_label": self.y[row]}
        return found


@dataclass
class Named(ModelOutput):  # type: ignore[misc]
    features: Tensor | None = None
    logits: Tensor | None = None


Outputs = Callable[[Tensor, Tensor], Any]
OUTPUTS: dict[str, Outputs] = {
    "tensor": lambda features, logits: logits,
    "wide features first": lambda features, logits: {"features": features, "logits": logits},
    "narrow features first": lambda features, logits: {"features": features[:, :2], "logits": logits},
    "convolutional features first": lambda features, logits: {
        "features": features.view(-1, 2, 2, 2), "logits": logits,
    },
    "scalar first": lambda features, logits: {"temperature": torch.ones(()), "logits": logits},
    "nothing first": lambda features, logits: {"hidden_states": None, "logits": logits},
    "as many features as classes": lambda features, logits: {"features": features[:, :4], "logits": logits},
    "ModelOutput": lambda features, logits: Named(features, logits),
    "tuple": lambda features, logits: (logits, features),
    "tuple with a loss": lambda features, logits: (logits.mean(), logits, features),
    "tuple without its loss": lambda features, logits: (None, logits),
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, output: Outputs = OUTPUTS["tensor"]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lower, self.head, self.output = nn.Linear(WIDTH, 8), nn.Linear(8, CLASSES), output

    def forward(self, x: Tensor) -> Any:
        features = torch.relu(self.lower(x))
        return self.output(features, self.head(features))


def arguments(folder: Path, **changes: Any) -> JALTrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(folder), "max_steps": 3, "per_device_train_batch_size": 32, "use_cpu": True,
        "disable_tqdm": True, "save_strategy": "no", "precision": "fp32", "learning_rate": 0.1, "optim": "sgd",
        "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "per_device_eval_batch_size": 21,
        "train_sampling_strategy": "sequential",
    }  # fmt: skip
    return JALTrainingArguments(**{**settings, **changes})


def trainer_of(
    folder: Path, kind: type[RobustTrainer] = RobustTrainer, model: nn.Module | None = None, **options: Any
) -> RobustTrainer:
    args = arguments(folder, **options.pop("changes", {}))
    options = {"train_dataset": Vectors(), "eval_dataset": Vectors(), "loss": "gce", **options}
    return kind(model=Net() if model is None else model, args=args, **options)


def logits_alone(model: nn.Module, data: Vectors) -> Tensor:
    with torch.no_grad():
        features = torch.relu(model.lower(data.x))
        return model.head(features)


class OwnMean(RobustTrainer):
    """A plain mean over the micro-batch, as most people write it."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs if isinstance(outputs, Tensor) else outputs["logits"]
        loss = self.criterion(logits, labels)
        return (loss, outputs) if return_outputs else loss


class OursUnderneath(RobustTrainer):
    """Our loss with nothing added, from a copy of the batch."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        return super().compute_loss(model, {**inputs}, *arguments, **options)


# What a network gives.
@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_evaluation_scores_the_logits_wherever_they_stand(output: Outputs, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, model=Net(output))
    data, unlabelled = Vectors(), Vectors(has_labels=False)
    expected = logits_alone(trainer.model, data)
    figures = trainer.evaluate()
    assert figures["eval_accuracy"] == pytest.approx(float((expected.argmax(1) == data.y).float().mean()))
    assert figures["eval_loss"] == pytest.approx(float(create_loss("gce")(expected, data.y)))
    # 64 rows leave a last batch of one.
    for rows in (data, unlabelled):
        found = trainer.predict(rows).predictions
        found = found[0] if isinstance(found, tuple) else found
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    if isinstance(output(torch.ones(1, 8), torch.ones(1, 4)), dict):
        _, outputs = trainer.compute_loss(trainer.model, next(iter(trainer.get_eval_dataloader())), True)
        assert next(iter(outputs)) == "logits"


def test_metrics_get_the_inputs_of_a_plain_module(tmp_path: Path) -> None:
    seen: list[Any] = []
    changes = {"include_for_metrics": ["inputs", "loss"]}
    trainer = trainer_of(tmp_path, changes=changes, compute_metrics=lambda found: seen.append(found) or {})
    trainer.evaluate()
    np.testing.assert_array_equal(seen[0].inputs, Vectors().x.numpy())
    assert seen[0].losses.shape == (ROWS,)


@pytest.mark.parametrize("kind", [OwnMean, OursUnderneath])
def test_logits_lead_what_an_own_compute_loss_gives(kind: type[RobustTrainer], tmp_path: Path) -> None:
    for name in ("as many features as classes", "ModelOutput"):
        trainer = trainer_of(tmp_path, kind, Net(OUTPUTS[name]))
        expected = logits_alone(trainer.model, Vectors())
        accuracy = float((expected.argmax(1) == Vectors().y).float().mean())
        assert trainer.evaluate()["eval_accuracy"] == pytest.approx(accuracy)
        assert not trainer.model._forward_hooks


# An own compute_loss.
def weights_after(kind: type[RobustTrainer], folder: Path, batch: int, steps: int, **options: Any) -> Tensor:
    changes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps, "logging_steps": 1}
    trainer = trainer_of(folder, kind, changes=changes, **options)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    weights = [parameter.detach().flatten() for parameter in trainer.model.parameters()]
    return torch.cat([*weights, torch.tensor(losses)])


class SaysItself(OwnMean):
    """A mean that is divided already, and says so."""

    loss_is_scaled_for_ga = True

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **options: Any) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, **options)
        return loss / self.current_gradient_accumulation_steps if model.training else loss


class SaysUnscaled(OwnMean):
    loss_is_scaled_for_ga = False


class SaysLater(OwnMean):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loss_is_scaled_for_ga = True

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **options: Any) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, **options)
        return loss / self.current_gradient_accumulation_steps if model.training else loss


class SaysLaterThatItIsNot(OwnMean):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loss_is_scaled_for_ga = False


@pytest.mark.parametrize(
    "kind",
    [RobustTrainer, OwnMean, OursUnderneath, SaysItself, SaysUnscaled, SaysLater, SaysLaterThatItIsNot],
)
@pytest.mark.parametrize("is_older", [False, True])
def test_an_own_compute_loss_does_not_depend_on_accumulation(
    kind: type[RobustTrainer], is_older: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_older:  # transformers 5.10 knows `model_accepts_loss_kwargs` alone
        monkeypatch.setattr(Trainer, "training_step", _training_step_of_5_10)
    data = Vectors(extras=True)
    expected = weights_after(RobustTrainer, tmp_path, 32, 1, train_dataset=data)
    for batch, steps in ((32, 1), (8, 4)):
        found = weights_after(kind, tmp_path, batch, steps, train_dataset=data)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _training_step_of_5_10(
    self: Any, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
) -> Tensor:
    model.train()
    loss = self.compute_loss(model, self._prepare_inputs(inputs), num_items_in_batch=num_items_in_batch)
    if (not self.model_accepts_loss_kwargs or num_items_in_batch is None) and self.compute_loss_func is None:
        loss = loss / self.current_gradient_accumulation_steps
    self.accelerator.backward(loss)
    return loss.detach()


def test_rows_numbers_do_not_reach_the_model_of_an_own_compute_loss(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Looks(OwnMean):
        def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
            seen.append((set(inputs), inputs["index"].tolist(), inputs.get("clean_label"), inputs.get("no")))
            return super().compute_loss(model, inputs, *arguments, **options)

    data = Vectors(extras=True)
    trainer = trainer_of(tmp_path, Looks, train_dataset=data, eval_dataset=data)
    trainer.train()
    trainer.evaluate()
    assert {frozenset(names) for names, *_ in seen} == {frozenset({"x", "labels"})}
    assert seen[0][1] == list(range(32))
    assert seen[0][2] is not None
    assert seen[0][3] is None


def test_a_method_knows_the_rows_under_an_own_compute_loss(tmp_path: Path) -> None:
    found = []
    for kind in (RobustTrainer, OursUnderneath):
        trainer = trainer_of(
            tmp_path, kind, train_dataset=Vectors(extras=True), method=create_method("elr", {"lambda": 3.0}),
            changes={"max_steps": 6, "train_sampling_strategy": "random"},
        )  # fmt: skip
        trainer.train()
        found.append(torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]))
    assert torch.equal(*found)


def test_a_batch_that_is_prepared_twice_keeps_what_was_put_aside(tmp_path: Path) -> None:
    class Twice(OursUnderneath):
        def training_step(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Tensor:
            return super().training_step(model, self._prepare_inputs(inputs), *arguments, **options)

    seen: list[Any] = []
    trainer = trainer_of(tmp_path, Twice, train_dataset=Vectors(extras=True))
    watch = trainer.guard.watch
    trainer.guard.watch = lambda *given: seen.append(given[-1]) or watch(*given)  # type: ignore[method-assign]
    trainer.train()
    assert seen[0].tolist() == list(range(32))


def test_evaluation_tells_the_loss_of_an_own_compute_loss(tmp_path: Path) -> None:
    class Doubled(OwnMean):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **options: Any) -> Any:
            loss, outputs = super().compute_loss(model, inputs, True, **options)
            return (2 * loss, outputs) if return_outputs else 2 * loss

    trainer = trainer_of(tmp_path, Doubled, changes={"per_device_eval_batch_size": 16})
    expected = float(create_loss("gce")(logits_alone(trainer.model, Vectors()), Vectors().y))
    assert trainer.evaluate()["eval_loss"] == pytest.approx(2 * expected)
    # Over batches of 21, 21, 21 and 1.
    assert trainer_of(tmp_path, OursUnderneath).evaluate()["eval_loss"] == pytest.approx(expected)


# Arguments that change before `train`.
def test_train_takes_the_arguments_as_they_are_by_then(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, loss=None, changes={"preset": "cifar10"}, num_classes=CLASSES)
    first, method = trainer.criterion, trainer.method
    trainer.train()
    assert (trainer.criterion, trainer.method) == (first, method)
    changes = {
        "loss": "gce", "preset": None, "loss_args": {"q": 0.4}, "method": "ema", "loss_scale": "gradient",
    }  # fmt: skip
    for name, value in changes.items():
        setattr(trainer.args, name, value)
    trainer.train()
    assert (trainer.criterion.name, trainer.criterion.config()["q"], trainer.method.name) == (
        "gce",
        0.4,
        "ema",
    )
    assert trainer.guard.criterion is trainer.criterion
    assert trainer.loss_scale == trainer.criterion.gradient_scale(CLASSES)
    assert trainer.args.l1_weight_decay == 0.0  # the preset's is gone with it
    trainer.args.loss_args["q"] = 0.6
    trainer.args.weight_decay = 0.25
    trainer.train()
    assert trainer.criterion.config()["q"] == 0.6
    assert trainer.args.weight_decay == 0.25
    trainer.args.loss, trainer.args.loss_args = "ce", None
    trainer.train()
    assert (trainer.criterion.name, trainer.args.weight_decay) == ("ce", 0.25)


def test_a_preset_that_comes_later_brings_its_decay_unless_one_was_asked_for(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, loss="jal-ce")
    trainer.args.preset = "cifar100"
    trainer.train()
    assert (trainer.args.weight_decay, trainer.args.l1_weight_decay) == (0.0, 5e-6)
    trainer.args.weight_decay = 0.1
    trainer.train()
    assert (trainer.args.weight_decay, trainer.args.l1_weight_decay) == (0.1, 0.0)


def test_the_loss_by_name_of_the_constructor_gives_way_and_an_object_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = trainer_of(tmp_path, loss="gce", method="ema")
    assert (named.args.loss, named.args.method) == ("gce", "ema")
    named.args.loss, named.args.method = "jal-ce", "plain"
    named.train()
    assert (named.criterion.name, named.method.name) == ("jal-ce", "plain")
    loss, method = create_loss("gce", q=0.3), create_method("ema", {})
    given = trainer_of(tmp_path, loss=loss, method=method)
    given.args.loss, given.args.weight_decay = "ce", 0.5
    with caplog.at_level(logging.WARNING):
        given.train()
    assert (given.criterion, given.method) == (loss, method)
    assert "args.loss 'ce' is left aside" in caplog.text


@pytest.mark.parametrize("loss", ["mae", create_loss("mae")], ids=["name", "object"])
def test_the_best_trial_of_a_search_is_trained_as_it_was_searched(loss: Any, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    drawn: list[dict[str, Any]] = [
        {"loss": "gce", "loss_args": {"q": 0.3}, "weight_decay": 0.1},
        {"loss": "jal-ce", "loss_args": {"a": 7.0}, "method": "ema", "weight_decay": 0.2},
    ]
    seen: list[str] = []

    def objective(metrics: dict[str, float]) -> float:
        seen.append(trainer.criterion.name)
        return float(seen[-1] == "gce")

    trainer = RobustTrainer(
        model_init=lambda: Net(),
        args=arguments(tmp_path),
        train_dataset=Vectors(),
        eval_dataset=Vectors(),
        loss=loss,
    )
    trainer.args.l1_weight_decay = 1e-4
    trainer.hyperparameter_search(
        lambda trial: drawn[trial.number], compute_objective=objective, n_trials=2, direction="maximize",
        backend="optuna",
    )  # fmt: skip
    assert seen == ["gce", "jal-ce"]
    for name, value in drawn[0].items():
        setattr(trainer.args, name, value)
    trainer.train()
    assert (trainer.criterion.name, trainer.criterion.config()["q"]) == ("gce", 0.3)
    assert (trainer.method.name, trainer.args.weight_decay, trainer.args.l1_weight_decay) == (
        "plain",
        0.1,
        1e-4,
    )


# Optimizers.
class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.EmbeddingBag(20, 4, sparse=True, mode="mean"), nn.Linear(4, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.words(ids))


BAGS = [{"ids": torch.arange(4) + row % 9, "labels": row % CLASSES} for row in range(24)]


def test_sparse_gradients_are_stepped(tmp_path: Path) -> None:
    try:
        torch.linalg.vector_norm(torch.eye(2).to_sparse())
    except NotImplementedError:
        pytest.skip("this torch takes no norm of a sparse gradient, for which the parent asks")
    for changes in ({}, {"on_nonfinite": "skip"}, {"l1_weight_decay": 1e-3}):
        trainer = trainer_of(tmp_path, model=Bag(), train_dataset=BAGS, eval_dataset=None, changes=changes)
        before = trainer.model.words.weight.detach().clone()
        trainer.train()
        assert not torch.equal(trainer.model.words.weight, before)
    sparse = trainer_of(tmp_path, model=Bag(), train_dataset=BAGS, eval_dataset=None)
    sparse.train()
    dense = Bag()
    dense.words.sparse = False
    reference = trainer_of(tmp_path, model=dense, train_dataset=BAGS, eval_dataset=None)
    reference.train()
    torch.testing.assert_close(sparse.model.words.weight, dense.words.weight)


def test_an_optimizer_of_ones_own_is_left_as_it_is(tmp_path: Path) -> None:
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        model = Net()
        optimizer = kind(model.parameters(), lr=0.1)
        before = [(group["fused"], group["foreach"]) for group in optimizer.param_groups]
        trainer_of(tmp_path, model=model, optimizers=(optimizer, None)).train()
        assert [(group["fused"], group["foreach"]) for group in optimizer.param_groups] == before
    assert trainer_of(tmp_path).create_optimizer().param_groups[0]["fused"]


# Metrics.
@pytest.mark.parametrize("is_listed", [False, True])
def test_predictions_of_ones_own_need_not_be_one_a_row(is_listed: bool, tmp_path: Path) -> None:
    def share(logits: Tensor, labels: Tensor | None) -> Tensor:
        right = logits.argmax(-1) == (torch.zeros(()) if labels is None else labels)
        return right.float().mean()[None]

    trainer = trainer_of(
        tmp_path,
        preprocess_logits_for_metrics=share,
        compute_metrics=lambda found: {"share": float(np.mean(np.hstack(found.predictions)))},
        changes={"eval_do_concat_batches": not is_listed},
    )
    assert 0.0 <= trainer.evaluate()["eval_share"] <= 1.0
    assert len(trainer.predict(Vectors(has_labels=False)).predictions) == 4


class Map(nn.Module):
    """A segmenter whose logits are coarser than its labels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 7, 2, 2)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(pixel_values)}


class Pictures(Dataset):  # type: ignore[type-arg]
    def __init__(self) -> None:
        self.x = torch.rand(5, 3, 8, 6)
        self.y = torch.randint(0, 7, (5, 8, 6))
        self.y[:, :2] = -100

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"pixel_values": self.x[row], "labels": self.y[row]}


@pytest.mark.parametrize("is_listed", [False, True])
def test_coarse_maps_are_scored_at_the_size_of_the_labels(is_listed: bool, tmp_path: Path) -> None:
    data = Pictures()
    changes = {"eval_do_concat_batches": not is_listed, "per_device_eval_batch_size": 2}
    trainer = trainer_of(tmp_path, model=Map(), train_dataset=data, eval_dataset=data, changes=changes)
    with torch.no_grad():
        logits = nn.functional.interpolate(trainer.model.layer(data.x), size=(8, 6), mode="bilinear")
    counted = data.y != -100
    figures = trainer.evaluate()
    assert figures["eval_accuracy"] == pytest.approx(
        float((logits.argmax(1) == data.y)[counted].float().mean())
    )
    best = logits.topk(5, dim=1).indices
    five = (best == data.y[:, None]).any(1)[counted].float().mean()
    assert figures["eval_top5_accuracy"] == pytest.approx(float(five))


@pytest.mark.parametrize("is_last", [False, True])
def test_square_outputs_are_scored_as_the_loss_reads_them(is_last: bool, tmp_path: Path) -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Any:
            logits = self.layer(x)
            return TokenClassifierOutput(logits=logits) if is_last else logits

    rows = [{"x": torch.randn(4, 4), "labels": torch.randint(0, 4, (4,))} for _ in range(9)]
    trainer = trainer_of(tmp_path, model=Square(), train_dataset=rows, eval_dataset=rows)
    with torch.no_grad():
        logits = trainer.model.layer(torch.stack([row["x"] for row in rows]))
    right = logits.argmax(2 if is_last else 1) == torch.stack([row["labels"] for row in rows])
    assert trainer.evaluate()["eval_accuracy"] == pytest.approx(float(right.float().mean()))


# Arguments that say what cannot be done.
@pytest.mark.parametrize("names", [["target"], [], ["labels", "other"]])
def test_labels_by_another_name_are_refused(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"label_names is .* under 'labels'"):
        arguments(tmp_path, label_names=names)
    assert arguments(tmp_path, label_names=["labels"]).label_names == ["labels"]


@pytest.mark.parametrize("asked", [{"precision": "fp16"}, {"precision": "auto", "fp16": True}])
def test_float16_on_a_cpu_is_said_to_be_float32(
    asked: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        args = arguments(tmp_path, **asked)
    assert "fp16 needs an accelerator" in caplog.text
    assert (args.precision_name, args.fp16, args.bf16) == ("fp32", False, False)
    assert replace(args, seed=1).precision_name == "fp32"
    trainer = RobustTrainer(model=Net(), args=args, train_dataset=Vectors())
    assert trainer.accelerator.mixed_precision == "no"
