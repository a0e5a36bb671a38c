"""JALTrainer: exact gradients however a batch is split, penalty once a step, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from jal_hf import JALTrainer, JALTrainingArguments, as_compute_loss_func, create_loss
from jal_hf.training.checkpoints import damage, is_complete
from jal_hf.training.trainer import RobustTrainer
from tests.training.helpers import CLASSES, MODELS, Examples, timm_model


def arguments(folder: Path, **changes: Any) -> JALTrainingArguments:
    settings = {
        "output_dir": str(folder),
        "optim": "sgd",
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "max_steps": 2,
        "save_strategy": "no",
        "disable_tqdm": True,
        "precision": "fp32",
        "use_cpu": True,
        "train_sampling_strategy": "sequential",
    }
    return JALTrainingArguments(**{**settings, **changes})


def trained_weights(
    make_model: Any,
    folder: Path,
    batch: int,
    steps: int,
    *,
    loss: str = "jal-ce",
    ignored: tuple[int, ...] = (),
    **changes: Any,
) -> dict[str, Tensor]:
    set_seed(0)
    model = make_model()
    args = arguments(folder, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, **changes)
    trainer = JALTrainer(model=model, args=args, train_dataset=Examples(ignored=ignored), loss=loss)
    trainer.train()
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    for name, value in left.items():
        torch.testing.assert_close(
            value, right[name], rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("loss", ["jal-ce", "gce"])
def test_trainer_gradient_does_not_depend_on_accumulation(make_model: Any, loss: str, tmp_path: Path) -> None:
    whole = trained_weights(make_model, tmp_path / "a", 12, 1, loss=loss)
    split = trained_weights(make_model, tmp_path / "b", 3, 4, loss=loss)
    assert_same(whole, split)


def test_trainer_gradient_does_not_depend_on_accumulation_when_labels_are_ignored(tmp_path: Path) -> None:
    # All labels of the first micro-batch and some of the others are ignored: a mean of means would be off.
    whole = trained_weights(timm_model, tmp_path / "a", 12, 1, ignored=(0, 1, 2, 5, 13))
    split = trained_weights(timm_model, tmp_path / "b", 3, 4, ignored=(0, 1, 2, 5, 13))
    assert_same(whole, split)


def test_trainer_gradient_does_not_depend_on_accumulation_when_the_last_step_is_short(tmp_path: Path) -> None:
    whole = trained_weights(timm_model, tmp_path / "a", 16, 1)
    split = trained_weights(timm_model, tmp_path / "b", 4, 4)
    assert_same(whole, split)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_trainer_adds_the_l1_penalty_once_a_step(accumulation: int, tmp_path: Path) -> None:
    decay, rate = 0.01, 0.05
    plain = trained_weights(timm_model, tmp_path / "a", 12 // accumulation, accumulation, max_steps=1)
    decayed = trained_weights(
        timm_model, tmp_path / "b", 12 // accumulation, accumulation, max_steps=1, l1_weight_decay=decay
    )
    set_seed(0)
    start = dict(timm_model().named_parameters())
    for name, value in plain.items():
        expected = value - rate * decay * start[name].detach().sign()
        torch.testing.assert_close(decayed[name], expected, rtol=0, atol=2e-6)


def test_trainer_adds_the_l1_penalty_before_clipping_and_never_in_evaluation(tmp_path: Path) -> None:
    set_seed(0)
    args = arguments(tmp_path, l1_weight_decay=100.0, max_grad_norm=1.0, max_steps=1, learning_rate=1.0)
    trainer = JALTrainer(
        model=timm_model(), args=args, train_dataset=Examples(), eval_dataset=Examples(), loss="mae"
    )
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    assert (
        trainer.evaluate()["eval_loss"] <= 2.0
    )  # mae is at most 2; with the penalty it would be in the thousands
    trainer.train()
    moved = torch.cat([(a - b).flatten() for a, b in zip(trainer.model.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(1.0, rel=1e-3)


def test_trainer_decays_all_parameters_unless_told_otherwise(tmp_path: Path) -> None:
    trainer = JALTrainer(model=timm_model(), args=arguments(tmp_path), train_dataset=Examples(), loss="ce")
    everything = {name for name, _ in trainer.model.named_parameters()}
    assert set(trainer.get_decay_parameter_names(trainer.model)) == everything
    trainer.args.decay_all_parameters = False
    assert set(trainer.get_decay_parameter_names(trainer.model)) < everything


def test_trainer_accepts_a_plain_module(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3 * 16 * 16, CLASSES)

        def forward(self, pixel_values: Tensor) -> Tensor:
            return self.head(pixel_values.flatten(1))

    trainer = JALTrainer(
        model=Plain(),
        args=arguments(tmp_path),
        train_dataset=Examples(),
        eval_dataset=Examples(),
        loss="agce",
    )
    trainer.train()
    assert 0.0 <= trainer.evaluate()["eval_accuracy"] <= 1.0


class Soft(Examples):
    """Class probabilities for labels."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        example = super().__getitem__(index)
        hard = nn.functional.one_hot(example["labels"], CLASSES)
        return {**example, "labels": 0.9 * hard + 0.1 / CLASSES}


@pytest.mark.parametrize("examples", [Examples, Soft])
def test_stock_trainer_learns_as_ours_does(examples: type[Examples], tmp_path: Path) -> None:
    def weights(trainer_class: Any, args: TrainingArguments, **loss: Any) -> dict[str, Tensor]:
        set_seed(0)
        trainer = trainer_class(model=timm_model(), args=args, train_dataset=examples(), **loss)
        trainer.train()
        return dict(trainer.model.named_parameters())

    args = arguments(
        tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2, weight_decay=0.0,
        remove_unused_columns=True,
    )  # fmt: skip
    ours = weights(JALTrainer, args, loss="jal-ce")
    assert_same(ours, weights(Trainer, args, compute_loss_func=as_compute_loss_func("jal-ce")))


@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS.keys())
def test_stock_trainer_with_compute_loss_func_is_exact_under_accumulation(
    make_model: Any, tmp_path: Path
) -> None:
    def weights(batch: int, steps: int) -> dict[str, Tensor]:
        set_seed(0)
        args = TrainingArguments(
            output_dir=str(tmp_path),
            optim="sgd",
            learning_rate=0.05,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            max_steps=1,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=steps,
            save_strategy="no",
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=True,
            train_sampling_strategy="sequential",
        )
        trainer = Trainer(
            model=make_model(),
            args=args,
            train_dataset=Examples(),
            compute_loss_func=as_compute_loss_func(create_loss("jal-ce")),
        )
        trainer.train()
        return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}

    assert_same(weights(12, 1), weights(3, 4))


def test_compute_loss_func_refuses_what_the_stock_trainer_cannot_average() -> None:
    with pytest.raises(ValueError, match="class weights"):
        as_compute_loss_func(create_loss("ce", weight=torch.ones(3)))
    with pytest.raises(ValueError, match="ignores 7"):
        as_compute_loss_func(create_loss("ce", ignore_index=7))


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("metric", [None, "accuracy", "validation_accuracy"])
def test_the_best_model_may_be_that_of_the_validation_split(
    is_alone: bool, metric: str | None, tmp_path: Path
) -> None:
    args = arguments(
        tmp_path, max_steps=8, learning_rate=0.0, save_strategy="steps", save_steps=1, eval_strategy="steps",
        eval_steps=1, load_best_model_at_end=True, metric_for_best_model=metric,
    )  # fmt: skip
    trainer = RobustTrainer(
        model=timm_model(),
        args=args,
        train_dataset=Examples(),
        eval_dataset=None if is_alone else Examples(8),
        validation_dataset=Examples(12, seed=1),
        loss="ce",
        callbacks=[EarlyStoppingCallback(2)],
    )
    trainer.train()
    assert trainer.state.global_step == 3  # nothing is learned, so patience ends
    figures = trainer.evaluate()
    is_validated = is_alone or metric == "validation_accuracy"
    name = f"{'validation' if is_validated else 'eval'}_{'accuracy' if metric else 'loss'}"
    assert trainer.state.best_metric == pytest.approx(figures[name])
    assert Path(str(trainer.state.best_model_checkpoint)).name == "checkpoint-1"
    logged = set().union(*trainer.state.log_history)
    assert not is_alone or not logged & {"eval_accuracy", "eval_loss"}


def test_each_trial_of_a_search_trains_its_own_loss_and_method_in_its_own_folder(tmp_path: Path) -> None:
    pytest.importorskip("optuna")

    class Notes(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                seen.append(
                    (trainer.criterion.name, trainer.criterion is trainer.guard.criterion, args.weight_decay)
                )

    seen: list[tuple[Any, ...]] = []
    trainer = JALTrainer(
        model_init=timm_model,
        args=arguments(tmp_path, save_strategy="steps", save_steps=2, preset="cifar100"),
        train_dataset=Examples(8),
        eval_dataset=Examples(8),
        loss="jal-ce",
        method="ema",
        callbacks=[Notes()],
    )
    drawn = [
        {"loss": "gce", "weight_decay": 0.1},
        {"loss_args": {"a": 7.0}, "method": "elr", "learning_rate": 0.1},
        {},
    ]
    trainer.hyperparameter_search(lambda trial: drawn[trial.number], n_trials=3, backend="optuna")
    assert [name for name, *_ in seen] == ["gce", "jal-ce", "jal-ce"]
    assert all(is_guarded for _, is_guarded, _ in seen)
    assert [decay for *_, decay in seen] == [0.1, 0.0, 0.0]
    assert trainer.criterion.config()["a"] == 20.0  # the preset's again
    for number, has_rows in enumerate((False, True, False)):  # elr keeps rows, ema weights
        folder = tmp_path / f"run-{number}" / "checkpoint-2"
        assert is_complete(folder)
        assert damage(folder) is None
        assert ("rows" in load_file(folder / "method.safetensors")) is has_rows
        assert (folder.parent / "log.jsonl").is_file()
    assert not (tmp_path / "run.json").exists()
    assert trainer.args.output_dir == str(tmp_path)


def test_arguments_refuse_label_smoothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        JALTrainingArguments(output_dir=str(tmp_path), label_smoothing_factor=0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"l1_weight_decay": -1.0}, "at least 0"),
        ({"precision": "int8"}, "auto, fp32, bf16, fp16"),
        ({"on_nonfinite": "ignore"}, "'stop' or 'skip'"),
        ({"loss_args": "{a: 1"}, "JSON object"),
        ({"loss_args": "[1]"}, "JSON object"),
    ],
)
def test_arguments_refuse_values_outside_their_range(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        JALTrainingArguments(output_dir=str(tmp_path), **changes)


def test_trainer_refuses_a_batch_without_labels(tmp_path: Path) -> None:
    trainer = JALTrainer(model=timm_model(), args=arguments(tmp_path), train_dataset=Examples(), loss="ce")
    with pytest.raises(ValueError, match="no 'labels'"):
        trainer.compute_loss(trainer.model, {"pixel_values": torch.zeros(1, 3, 16, 16)})


def test_trainer_logs_components_to_the_log_file(tmp_path: Path) -> None:
    import json

    args = arguments(tmp_path, logging_steps=1)
    JALTrainer(model=timm_model(), args=args, train_dataset=Examples(), loss="jal-ce").train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2]
    assert all(any(key.startswith("loss_") for key in line) for line in steps)


def test_trainer_takes_loss_and_decay_of_a_preset_unless_decay_was_asked_for(tmp_path: Path) -> None:
    args = arguments(tmp_path, loss="jal-ce", preset="cifar100")
    trainer = JALTrainer(model=timm_model(), args=args, train_dataset=Examples())
    assert trainer.criterion.config()["a"] == 20.0
    assert (trainer.args.weight_decay, trainer.args.l1_weight_decay) == (0.0, 5e-6)
    asked = arguments(tmp_path, loss="jal-ce", preset="cifar100", weight_decay=0.3)
    trainer = JALTrainer(model=timm_model(), args=asked, train_dataset=Examples())
    assert (trainer.args.weight_decay, trainer.args.l1_weight_decay) == (0.3, 0.0)


def test_trainer_counts_operations_as_its_parent_and_walks_over_the_parameters_once_a_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = JALTrainer(model=timm_model(), args=arguments(tmp_path), train_dataset=Examples())
    batches = [{"pixel_values": torch.zeros(rows, 3, 16, 16)} for rows in (4, 2, 4)]
    expected = [Trainer.floating_point_ops(trainer, batch) for batch in batches]
    asked: list[int] = []
    parents = Trainer.floating_point_ops
    monkeypatch.setattr(
        Trainer, "floating_point_ops", lambda self, batch: asked.append(1) or parents(self, batch)
    )
    assert [trainer.floating_point_ops(batch) for batch in batches] == expected
    assert expected[0] == 2 * expected[1] > 0
    assert len(asked) == 2
