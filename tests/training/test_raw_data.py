"""The trainer takes raw data wherever its parent takes data, any model, any rank; what is said is never overruled."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForTokenClassification,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
    PreTrainedTokenizerFast,
    Trainer,
    ViTImageProcessor,
    default_data_collator,
)
from transformers.modeling_outputs import TokenClassifierOutput

from jal_hf import JALTrainer, JALTrainingArguments, as_compute_loss_func, create_loss, create_model
from jal_hf.data.images.batches import collate_images
from jal_hf.models.preprocessing import Preprocessing
from jal_hf.training.criterion import classes_second, decide_loss
from jal_hf.training.inputs import RawImages
from jal_hf.training.progress_record import progress_record
from tests.training.helpers import Examples, timm_model

CLASSES = ["ant", "bee", "cat"]


def raw(rows: int = 24, label: str = "label", seed: int = 0, clean: bool = False) -> datasets.Dataset:
    """Small pictures whose brightness is their class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, rows)
    pixels = np.clip(draw.normal(60 + 70 * labels[:, None, None, None], 20, (rows, 8, 8, 3)), 0, 255)
    content: dict[str, Any] = {"image": [Image.fromarray(np.uint8(item)) for item in pixels], label: labels}
    kinds: dict[str, Any] = {"image": datasets.Image(), label: datasets.ClassLabel(names=CLASSES)}
    return datasets.Dataset.from_dict(content, features=datasets.Features(kinds))


def arguments(folder: Path, **changes: Any) -> JALTrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(folder), "max_steps": 4, "per_device_train_batch_size": 8, "use_cpu": True,
        "disable_tqdm": True, "save_strategy": "no", "precision": "fp32", "learning_rate": 0.01,
    }  # fmt: skip
    return JALTrainingArguments(**{**settings, **changes})


def network() -> nn.Module:
    return create_model("jal_digits_cnn", num_labels=3, class_names=CLASSES, image_size=8, in_chans=3)


def trainer_on(folder: Path, changes: dict[str, Any] | None = None, **options: Any) -> JALTrainer:
    options = {"train_dataset": raw(), "augment": "none", **options}
    return JALTrainer(model=network(), args=arguments(folder, **(changes or {})), **options)


def test_evaluate_and_predict_take_raw_datasets(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path)
    test = raw(10, seed=1)
    figures = trainer.evaluate(test)
    assert {"eval_accuracy", "eval_loss"} <= set(figures)
    predicted = trainer.predict(test)
    assert predicted.predictions.shape == (10, 3)
    assert predicted.metrics["test_accuracy"] == figures["eval_accuracy"]
    unlabelled = trainer.predict(test.remove_columns("label"))
    assert np.array_equal(unlabelled.predictions, predicted.predictions)


def test_a_dict_of_raw_splits_is_evaluated_part_by_part(tmp_path: Path) -> None:
    splits = {"easy": raw(8, seed=1), "hard": raw(8, seed=2)}
    trainer = trainer_on(tmp_path, {"eval_strategy": "steps", "eval_steps": 2}, eval_dataset=splits)
    trainer.train()
    logged = set().union(*trainer.state.log_history)
    assert {"eval_easy_accuracy", "eval_hard_accuracy"} <= logged
    assert {"eval_easy_loss", "eval_hard_loss"} <= set(trainer.evaluate(splits))


def test_raw_streams_are_trained_on_and_evaluated(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, train_dataset=raw().to_iterable_dataset())
    trainer.train()
    assert trainer.state.global_step == 4
    assert "eval_accuracy" in trainer.evaluate(raw(8, seed=1).to_iterable_dataset())
    epochs = {"max_steps": -1, "num_train_epochs": 3, "gradient_accumulation_steps": 2}
    with pytest.raises(ValueError, match=r"num_train_epochs=3 .*max_steps: .* rows / 16 here"):
        trainer_on(tmp_path, epochs, train_dataset=raw().to_iterable_dataset())


def test_a_dataset_with_its_own_transform_is_left_alone(tmp_path: Path) -> None:
    def ready(batch: dict[str, Any]) -> dict[str, Any]:
        images = [torch.from_numpy(np.asarray(item)).permute(2, 0, 1) / 255.0 for item in batch["image"]]
        return {"pixel_values": images, "labels": batch["label"]}

    test = raw(8, seed=1)
    test.set_transform(ready)
    assert "eval_accuracy" in trainer_on(tmp_path).evaluate(test)


@pytest.mark.parametrize("label", ["target", "fine_label", "y"])
def test_label_columns_of_usual_names_are_found(tmp_path: Path, label: str) -> None:
    trainer = trainer_on(tmp_path, train_dataset=raw(label=label).cast_column(label, datasets.Value("int64")))
    trainer.train()
    assert "eval_accuracy" in trainer.evaluate(raw(8, label=label))


@pytest.mark.parametrize("kind", ["text", "names", "truths"])
def test_every_split_is_numbered_by_the_classes_of_training(tmp_path: Path, kind: str) -> None:
    """An evaluation split without the first class once numbered its own labels from there on."""

    def told(labels: list[int]) -> datasets.Dataset:
        images = raw(len(labels)).remove_columns("label")
        if kind == "truths":
            return images.add_column("label", [label > 0 for label in labels])
        texts = [CLASSES[label] for label in labels]
        made = images.add_column("label", texts)
        return made.class_encode_column("label") if kind == "names" else made

    def labels_of(split: Any) -> list[int]:
        return [int(label) for label in split.__getitems__(list(range(len(split))))["labels"]]

    model = create_model("jal_digits_cnn", num_labels=4, image_size=8, in_chans=3)
    train, test = told([2, 0, 1, 0, 2, 1]), told([1, 2, 2])
    trainer = JALTrainer(model, arguments(tmp_path), train_dataset=train, eval_dataset=test, augment="none")
    expected = [1, 1, 1] if kind == "truths" else [1, 2, 2]
    assert labels_of(trainer.eval_dataset) == expected
    assert labels_of(trainer.get_test_dataloader(test).dataset) == expected
    assert labels_of(trainer.unaugmented_train_dataset()) == labels_of(trainer.train_dataset)
    names = ["False", "True", "LABEL_2"] if kind == "truths" else CLASSES
    assert trainer.model.config.id2label == dict(enumerate([*names, "LABEL_3"]))
    assert trainer.model.config.label2id[names[0]] == 0


def test_training_without_augmentation_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trainer_on(tmp_path, augment=None)
    assert sum("Training without augmentation" in line.message for line in caplog.records) == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        trainer_on(tmp_path, augment="crop-flip")
    assert "Training without augmentation" not in caplog.text


def test_augment_reaches_the_batches(tmp_path: Path) -> None:
    plain = trainer_on(tmp_path, augment="none").train_dataset.__getitems__(list(range(24)))["pixel_values"]
    moved = trainer_on(tmp_path, augment="crop-flip").train_dataset.__getitems__(list(range(24)))[
        "pixel_values"
    ]
    assert not torch.equal(plain, moved)


def test_a_model_made_by_model_init_trains_on_raw_images(tmp_path: Path) -> None:
    def unnamed() -> nn.Module:
        return create_model("jal_digits_cnn", num_labels=3, image_size=8, in_chans=3)

    made = {}
    for name in ("model", "model_init"):
        torch.manual_seed(0)
        network_of = {"model": unnamed()} if name == "model" else {"model_init": unnamed}
        args = arguments(tmp_path, loss_scale="gradient")
        made[name] = JALTrainer(args=args, train_dataset=raw(), augment="none", loss="ce", **network_of)
        made[name].train()
    given, own = made["model"], made["model_init"]
    assert type(own.train_dataset) is type(given.train_dataset)
    assert own.loss_scale == given.loss_scale == pytest.approx(1.0)
    assert own.model.config.pretrained_cfg == given.model.config.pretrained_cfg
    assert own.model.config.id2label == given.model.config.id2label == dict(enumerate(CLASSES))
    assert "eval_accuracy" in own.evaluate(raw(8, seed=1))


def test_images_that_nobody_says_how_to_prepare_are_refused_before_training(tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(ValueError, match=r"Sequential does not say how images are prepared"):
        JALTrainer(model=plain, args=arguments(tmp_path), train_dataset=raw(), loss="ce")
    JALTrainer(model=plain, args=arguments(tmp_path), train_dataset=raw(), loss="ce", data_collator=list)


# Collators other than ours.
def own_collator(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    assert all(isinstance(row["image"], Image.Image) for row in rows)
    images = [torch.from_numpy(np.asarray(row["image"])).permute(2, 0, 1) / 255.0 for row in rows]
    return {"pixel_values": torch.stack(images), "labels": torch.tensor([row["label"] for row in rows])}


class OwnCollator(DefaultDataCollator):
    def __call__(self, rows: Any, return_tensors: Any = None) -> Any:
        return own_collator(rows)


COLLATORS: dict[str, dict[str, Any]] = {
    "image processor": {"processing_class": ViTImageProcessor(size={"height": 8, "width": 8})},
    "class of transformers": {"data_collator": DefaultDataCollator()},
    "function of transformers": {"data_collator": default_data_collator},
    "ours by name": {"data_collator": collate_images},
    "function": {"data_collator": own_collator},
    "subclass": {"data_collator": OwnCollator()},
    "none": {},
}
OWN = ("function", "subclass")


# The parent takes the images away from an own collator where it is told to clear.
@pytest.mark.parametrize(
    ("kind", "is_cleared"),
    [(kind, None) for kind in COLLATORS] + [(kind, True) for kind in COLLATORS if kind not in OWN],
)
def test_raw_images_are_trained_on_with_any_collator(
    kind: str, is_cleared: bool | None, tmp_path: Path
) -> None:
    test = raw(9, seed=1)
    trainer = trainer_on(
        tmp_path,
        {"remove_unused_columns": is_cleared},
        eval_dataset={"a": test, "b": test},
        **COLLATORS[kind],
    )
    assert (trainer.train_dataset is trainer.given_train_dataset) is (kind in OWN)
    trainer.train()
    assert {"eval_a_accuracy", "eval_b_accuracy"} <= set(trainer.evaluate())
    assert trainer.predict(test).predictions.shape == (9, 3)
    assert "eval_accuracy" in trainer.evaluate(torch.utils.data.Subset(trainer.eval_dataset["a"], range(4)))
    assert trainer.args.remove_unused_columns is is_cleared


def test_streams_of_raw_images_go_through_a_stock_collator(tmp_path: Path) -> None:
    trainer = trainer_on(
        tmp_path, {"remove_unused_columns": True}, train_dataset=raw().to_iterable_dataset(),
        data_collator=DefaultDataCollator(),
    )  # fmt: skip
    assert trainer.train().global_step == 4


# What the model doesn't tell, the caller may.
def test_a_plain_module_is_told_its_classes_and_its_images(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 3)

        def forward(self, pixel_values: Tensor) -> Tensor:
            assert pixel_values.shape[1:] == (3, 6, 6)
            return self.head(pixel_values.mean((2, 3)))

    told = {"input_size": (3, 6, 6), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    for preprocessing in (told, Preprocessing(**told)):  # type: ignore[arg-type]
        trainer = JALTrainer(
            model=Plain(), args=arguments(tmp_path, loss_scale="gradient", loss="gce"), train_dataset=raw(),
            eval_dataset=raw(8, seed=1), augment="none", num_classes=3, preprocessing=preprocessing, method="elr",
        )  # fmt: skip
        assert trainer.loss_scale == trainer.criterion.gradient_scale(3)
        trainer.train()
        assert trainer.method.setting.num_classes == 3
        section = progress_record(trainer).model
        assert (section["num_labels"], section["image_size"], section["std"]) == (3, 6, [0.25] * 3)
        assert "eval_accuracy" in trainer.evaluate()
    with pytest.raises(ValueError, match="give the trainer num_classes"):
        JALTrainer(model=Plain(), args=arguments(tmp_path, loss_scale="gradient"), train_dataset=Examples())
    with pytest.raises(ValueError, match="preprocessing says no mean and no std"):
        RawImages(Plain(), preprocessing={"input_size": (3, 6, 6)})


# Tokenised text.
class Words(nn.Module):
    """A text network that takes `input_ids` and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(8, 4), nn.Linear(4, 3)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.embedding(input_ids).mean(1))


class AnyWords(Words):
    """One that takes fields of any name."""

    def forward(self, input_ids: Tensor, **_: Tensor) -> Tensor:
        return super().forward(input_ids)


def tokenised(rows: int = 8, **columns: list[Any]) -> datasets.Dataset:
    """What a tokenizer's `map` leaves: the text and its tokens beside the label."""
    content = {"text": ["a b"] * rows, "input_ids": [[1, 2]] * rows, "token_type_ids": [[0, 0]] * rows}
    return datasets.Dataset.from_dict(
        {**content, "words": [["a", "b"]] * rows, "label": [row % 3 for row in range(rows)], **columns}
    )


def text_trainer(
    folder: Path, model: nn.Module, rows: Any, changes: Any = None, **options: Any
) -> JALTrainer:
    return JALTrainer(model=model, args=arguments(folder, **(changes or {})), train_dataset=rows, **options)


@pytest.mark.parametrize("model", [Words, AnyWords])
def test_tokenised_rows_keep_their_text_and_batches_leave_it_out(tmp_path: Path, model: type[Words]) -> None:
    rows = tokenised(index=list(range(8)), clean_label=[0] * 8)
    trainer = text_trainer(tmp_path, model(), rows, eval_dataset={"a": rows, "b": rows})
    trainer.train()
    assert {"input_ids", "labels", "index", "clean_label"} <= set(next(iter(trainer.get_train_dataloader())))
    assert {"eval_a_accuracy", "eval_b_accuracy"} <= set(trainer.evaluate())
    assert trainer.predict(rows).predictions.shape == (8, 3)
    assert trainer.given_train_dataset.column_names == rows.column_names
    text_trainer(tmp_path, model(), rows.to_iterable_dataset()).train()


def test_columns_stay_for_who_may_read_them(tmp_path: Path) -> None:
    def own_collator(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        assert rows[0]["text"] == "a b"
        return {
            "input_ids": torch.ones(len(rows), 2).long(),
            "labels": torch.tensor([row["label"] for row in rows]),
        }

    text_trainer(tmp_path, Words(), tokenised(), data_collator=own_collator).train()
    kept = text_trainer(tmp_path, Words(), tokenised(), {"remove_unused_columns": False})
    assert kept.train_dataset.column_names == tokenised().column_names


class OwnLoss(JALTrainer):
    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        return super().compute_loss(*arguments, **options)


class OwnStep(JALTrainer):
    def training_step(self, *arguments: Any, **options: Any) -> Tensor:
        return super().training_step(*arguments, **options)


@pytest.mark.parametrize("kind", [OwnLoss, OwnStep])
def test_texts_beside_tokens_are_left_out_under_a_step_of_ones_own(
    tmp_path: Path, kind: type[JALTrainer]
) -> None:
    """The tokenizer that pads a batch was once given them, and failed."""
    words = Tokenizer(WordLevel({"[PAD]": 0, "a": 1, "b": 2}, unk_token="a"))
    pad = DataCollatorWithPadding(PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]"))
    rows = tokenised(score=[0.5] * 8)
    trainer = kind(model=AnyWords(), args=arguments(tmp_path), train_dataset=rows, data_collator=pad)
    assert trainer.train_dataset.column_names == ["input_ids", "token_type_ids", "label", "score"]
    assert trainer.train().global_step == 4


def tagger() -> nn.Module:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return BertForTokenClassification(BertConfig(vocab_size=8, num_labels=3, **small))


def adapted_tagger() -> nn.Module:
    peft = pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    lora = peft.LoraConfig(task_type="TOKEN_CLS", target_modules=["query"], r=2)
    adapted: nn.Module = peft.get_peft_model(tagger(), lora)
    return adapted


@pytest.mark.parametrize("model", [tagger, adapted_tagger])
def test_tags_of_words_beside_those_of_tokens_are_left_out(tmp_path: Path, model: Any) -> None:
    """They are as many as the words, so that no stock collator puts them together."""
    words = Tokenizer(WordLevel({"[PAD]": 0, "a": 1, "b": 2}, unk_token="a"))
    pad = DataCollatorForTokenClassification(
        PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")
    )
    lists = [[1, 2, 0, 1][: 1 + row % 4] for row in range(8)]
    rows = datasets.Dataset.from_dict(
        {"tokens": [["a"] * len(tags) for tags in lists], "ner_tags": lists, "input_ids": lists, "labels": lists,
         "token_type_ids": [[0] * len(tags) for tags in lists], "sample_weight": [0.5] * 8}
    )  # fmt: skip
    trainer = text_trainer(tmp_path, model(), rows, eval_dataset=rows, data_collator=pad)
    assert trainer.train_dataset.column_names == ["input_ids", "labels", "token_type_ids", "sample_weight"]
    assert trainer.train().global_step == 4
    assert "eval_accuracy" in trainer.evaluate()


def test_texts_that_are_not_tokenised_and_labels_that_are_texts_are_refused(tmp_path: Path) -> None:
    raw_texts = datasets.Dataset.from_dict({"review": ["a b"] * 6, "label": [0, 1] * 3})
    named = tokenised(label=["x", "y"] * 4)
    for rows, sentence in (
        (raw_texts, r"no column that \w+ takes, only 'review', 'label'. .*rows\['review'\]"),
        (raw_texts.to_iterable_dataset(), r"no column that \w+ takes"),
        (named, r"'label' are texts.*class_encode_column\('label'\)"),
        (tokenised(label=[["x"]] * 8), "'label' are texts"),
    ):
        for model in (Words(), AnyWords()):
            with pytest.raises(ValueError, match=sentence):
                text_trainer(tmp_path, model, rows)
    trainer = text_trainer(tmp_path, Words(), named.class_encode_column("label"))
    with pytest.raises(ValueError, match="Tokenise it first"):
        trainer.evaluate(raw_texts)


def named_rows(names: list[str], *, tokens: bool) -> datasets.Dataset:
    kind: Any = datasets.ClassLabel(names=names)
    labels: list[Any] = [[0, -100], [1, 2]] * 4 if tokens else [0, 1, 2, 0, 1, 2, 0, 1]
    rows = tokenised(label=labels)
    return rows.cast_column("label", datasets.List(kind) if tokens else kind)


@pytest.mark.parametrize("tokens", [False, True])
def test_names_of_labels_become_the_models_and_another_order_is_refused(tmp_path: Path, tokens: bool) -> None:
    """A model trained on named classes once answered with LABEL_0, and a split in another order was scored wrongly."""

    def model(names: list[str]) -> nn.Module:
        made = AnyWords()
        made.config = SimpleNamespace(  # type: ignore[assignment]
            num_labels=3, id2label=dict(enumerate(names)), label2id={}
        )
        return made

    rows, turned = (named_rows(names, tokens=tokens) for names in (CLASSES, CLASSES[::-1]))
    unnamed = model(["LABEL_0", "LABEL_1", "LABEL_2"])
    trainer = text_trainer(tmp_path, unnamed, rows)
    config: Any = unnamed.config
    assert config.id2label == {0: "ant", 1: "bee", 2: "cat"}
    assert config.label2id == {"ant": 0, "bee": 1, "cat": 2}
    with pytest.raises(ValueError, match="'label' number the classes in another order than the model: 'cat'"):
        trainer.raw_images.ready(turned, train=False)
    with pytest.raises(ValueError, match="align_labels_with_mapping"):
        text_trainer(tmp_path, model(CLASSES[::-1]), rows)
    kept = model(["x", "y", "z"])  # other names altogether: numbers count
    text_trainer(tmp_path, kept, rows)
    assert vars(kept.config)["id2label"] == {0: "x", 1: "y", 2: "z"}


# Labels are looked at before anything is trained.
@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ([0, 1, 2, -100, 1, 3, 0, 7], "2 label.s. outside .0, 3. .such as 3, 7. at rows 5, 7;"),
        ([[0, -100], [], [1], [2, 3, 9], [0], [1], [2], [-1]], "3 label.s. outside .* at rows 3, 7;"),
        ([[[0], [1, 2]], [[0, 5], []]] * 4, "4 label.s. outside .* at rows 1, 3, 5, 7;"),
    ],
)
def test_labels_outside_the_models_classes_are_refused_naming_rows(
    tmp_path: Path, labels: list[Any], place: str
) -> None:
    model = AnyWords()
    model.config = SimpleNamespace(num_labels=3)  # type: ignore[assignment]
    wrong = tokenised(label=labels)
    with pytest.raises(ValueError, match=place):
        text_trainer(tmp_path, model, wrong)
    with pytest.raises(ValueError, match=place):
        text_trainer(tmp_path, model, tokenised(), eval_dataset={"test": wrong})
    trainer = text_trainer(tmp_path, model, tokenised())
    with pytest.raises(ValueError, match=place):
        trainer.evaluate(wrong)


@pytest.mark.parametrize("has_names", [False, True])
def test_rows_that_are_all_unlabelled_are_predicted(tmp_path: Path, has_names: bool) -> None:
    model = AnyWords()
    model.config = SimpleNamespace(num_labels=3)  # type: ignore[assignment]
    rows = tokenised(label=[-1] * 8)
    if has_names:
        rows = rows.cast_column("label", datasets.ClassLabel(names=CLASSES))
    trainer = text_trainer(tmp_path, model, tokenised())
    expected = trainer.predict(rows.remove_columns("label")).predictions
    found = trainer.predict(rows)
    assert np.array_equal(found.predictions, expected)
    assert found.label_ids is None
    with pytest.raises(ValueError, match=r"8 label.s. outside"):
        text_trainer(tmp_path, model, rows)


def test_ignored_labels_and_those_that_an_own_collator_may_change_pass(tmp_path: Path) -> None:
    def own_collator(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {
            "input_ids": torch.ones(len(rows), 2).long(),
            "labels": torch.tensor([row["label"] % 3 for row in rows]),
        }

    model = AnyWords()
    model.config = SimpleNamespace(num_labels=3)  # type: ignore[assignment]
    own = text_trainer(tmp_path, model, tokenised(label=[7] * 8), data_collator=own_collator)
    ignored = tokenised(label=[9, 0, 1, 2, 9, 0, 1, 2])
    other = text_trainer(tmp_path, model, ignored, loss=create_loss("ce", ignore_index=9))
    for trainer in (own, other):
        assert trainer.train().global_step == trainer.args.max_steps > 0


# One function decides the loss.
def test_a_loss_by_name_takes_preset_and_parameters_of_the_arguments(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, {"preset": "cifar100"}, loss="jal-ce")
    assert trainer.criterion.config()["alpha"] == 5.0
    assert trainer.args.l1_weight_decay == 5e-6
    given = trainer_on(tmp_path, {"loss_args": {"q": 0.4}}, loss="gce")
    assert given.criterion.config()["q"] == 0.4


def test_arguments_are_never_changed(tmp_path: Path) -> None:
    args = arguments(tmp_path, preset="cifar100")
    before = dict(args.__dict__)
    JALTrainer(model=network(), args=args, train_dataset=raw(), augment="none")
    assert args.__dict__ == before


def test_an_explicit_decay_wins_over_the_preset(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, {"preset": "cifar100", "l1_weight_decay": 0.0})
    assert (trainer.args.l1_weight_decay, trainer.args.weight_decay) == (0.0, 0.0)


@pytest.mark.parametrize("changes", [{"preset": "cifar10"}, {"loss_args": {"q": 0.5}}])
def test_a_loss_object_beside_words_for_another_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is built already"):
        decide_loss(create_loss("gce"), arguments(tmp_path, **changes))


def test_preset_auto_takes_the_classes_from_the_model(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, {"preset": "auto"}, loss="jal-ce", noise=0.4)
    assert trainer.criterion.config()["a"] >= 1 / (1 - 0.4 - 0.4 / 2)


# What is said explicitly is never overruled.
def test_decay_set_after_the_arguments_were_made_wins_over_the_preset(tmp_path: Path) -> None:
    by_hand, by_method = arguments(tmp_path, preset="cifar10"), arguments(tmp_path, preset="cifar10")
    by_hand.weight_decay = 5e-4
    by_method.set_optimizer(name="sgd", learning_rate=0.1, weight_decay=5e-4)
    for args in (by_hand, by_method):
        trained = JALTrainer(model=network(), args=args, train_dataset=raw(), augment="none").args
        assert (trained.weight_decay, trained.l1_weight_decay) == (5e-4, 0.0)


def test_an_optimizer_set_without_decay_keeps_that_of_the_preset(tmp_path: Path) -> None:
    args = arguments(tmp_path, preset="cifar10").set_optimizer("sgd", 0.1).set_training(0.1, batch_size=4)
    trained = JALTrainer(model=network(), args=args, train_dataset=raw(), augment="none").args
    assert (trained.weight_decay, trained.l1_weight_decay) == (0.0, 5e-5)
    assert args.set_optimizer("sgd", 0.1, 5e-4).set_training(0.1).weight_decay == 5e-4


def test_the_stock_trainer_takes_our_arguments(tmp_path: Path) -> None:
    args = arguments(tmp_path, remove_unused_columns=True)
    Trainer(AnyWords(), args, train_dataset=tokenised(), compute_loss_func=as_compute_loss_func("ce")).train()
    assert json.loads(args.to_json_string())["weight_decay"] == 0.0


def test_replaced_arguments_keep_preset_and_schedule(tmp_path: Path) -> None:
    asked = arguments(tmp_path, preset="cifar10", lr_scheduler_type="cosine_epoch")
    fields = [field.name for field in dataclasses.fields(asked) if field.init]
    for args in (
        dataclasses.replace(asked, learning_rate=0.5),
        JALTrainingArguments(**{name: asked.to_dict()[name] for name in fields}),
    ):
        trainer = JALTrainer(model=network(), args=args, train_dataset=raw(), augment="none")
        assert (trainer.args.weight_decay, trainer.args.l1_weight_decay) == (0.0, 5e-5)
        assert (trainer.args.epoch_schedule, trainer.args.lr_scheduler_type) == (
            "cosine_epoch",
            "cosine_epoch",
        )


def test_a_schedule_set_after_the_arguments_were_made_is_the_one_trained(tmp_path: Path) -> None:
    args = arguments(tmp_path, lr_scheduler_type="cosine_epoch")
    args.set_lr_scheduler(name="linear")
    assert (args.epoch_schedule, args.to_dict()["lr_scheduler_type"]) == (None, "linear")
    args.lr_scheduler_type = "exponential_epoch"
    assert args.epoch_schedule == "exponential_epoch"


def test_a_loss_function_of_the_stock_trainer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compute_loss_func"):
        trainer_on(tmp_path, compute_loss_func=as_compute_loss_func("ce"))


def test_a_given_optimizer_class_has_a_rate_of_its_own_for_the_head(tmp_path: Path) -> None:
    given = (torch.optim.Adagrad, {"lr": 0.3})
    trainer = trainer_on(tmp_path, {"head_learning_rate": 0.1}, optimizer_cls_and_kwargs=given)
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, torch.optim.Adagrad)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3, 0.1}


def test_bf16_false_trains_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jal_hf.training import hardware

    monkeypatch.setattr(
        hardware, "this_processor", lambda *_: hardware.Processor("GenuineIntel", frozenset({"amx_bf16"}))
    )
    assert JALTrainingArguments(output_dir=str(tmp_path), use_cpu=True).precision_name == "bf16"
    refused = JALTrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    assert (refused.bf16, refused.precision_name) == (False, "fp32")
    with pytest.raises(ValueError, match="contradict"):
        JALTrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=False, precision="bf16")


# Any rank.
class Rows(Dataset[dict[str, Tensor]]):
    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"pixel_values": self.inputs[row], "labels": self.labels[row]}


class Tokens(nn.Module):
    """Token logits (N, T, K), as transformers' token classifiers give them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, classes)

    def forward(self, pixel_values: Tensor) -> TokenClassifierOutput:
        return TokenClassifierOutput(logits=self.layer(pixel_values))


@pytest.mark.parametrize("classes", [3, 5])
def test_default_metrics_fit_tokens(tmp_path: Path, classes: int) -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (8, 5), generator=draw)
    labels[0, :2] = -100
    rows = Rows(torch.randn(8, 5, 2, generator=draw), labels)
    model = Tokens(classes)
    trainer = JALTrainer(model=model, args=arguments(tmp_path), train_dataset=rows, loss="ce")
    figures = trainer.evaluate(rows)
    with torch.no_grad():
        logits = model(rows.inputs).logits
    counted = labels != -100
    assert figures["eval_accuracy"] == pytest.approx(
        float((logits.argmax(-1) == labels)[counted].float().mean())
    )
    expected = nn.functional.cross_entropy(logits[counted], labels[counted])
    assert figures["eval_loss"] == pytest.approx(float(expected), abs=1e-5)


def test_square_token_logits_are_read_by_the_output_and_others_as_the_losses_read_them() -> None:
    logits, labels = torch.randn(4, 3, 3), torch.randint(0, 3, (4, 3))
    assert torch.equal(classes_second(logits, labels), logits)
    assert torch.equal(classes_second(logits, labels, classes_last=True), logits.transpose(1, 2))
    plug = as_compute_loss_func("ce")
    tokens = plug(TokenClassifierOutput(logits=logits), labels)
    assert tokens == pytest.approx(float(nn.functional.cross_entropy(logits.transpose(1, 2), labels)))
    assert plug({"logits": logits}, labels) == pytest.approx(
        float(nn.functional.cross_entropy(logits, labels))
    )


def test_metrics_may_be_none_or_preprocessed(tmp_path: Path) -> None:
    none = trainer_on(tmp_path, compute_metrics=None).evaluate(raw(8, seed=1))
    assert "eval_accuracy" not in none
    assert "eval_loss" in none
    trainer = trainer_on(tmp_path, preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1))
    plain = trainer_on(tmp_path)
    plain.model.load_state_dict(trainer.model.state_dict())
    test = raw(8, seed=1)
    assert trainer.evaluate(test)["eval_accuracy"] == plain.evaluate(test)["eval_accuracy"]


@pytest.mark.parametrize("layout", [True, False])
def test_volumes_train(tmp_path: Path, layout: bool) -> None:
    model = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    rows = Rows(torch.randn(8, 1, 4, 4, 4), torch.arange(8) % 3)
    args = arguments(tmp_path, channels_last=layout)
    trainer = JALTrainer(model=model, args=args, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert "eval_accuracy" in trainer.evaluate()


@pytest.mark.parametrize("loss", ["jal-ce", "anl-fl", "ce"])
def test_another_ignore_index_is_trained_and_logged(tmp_path: Path, loss: str) -> None:
    rows = Rows(torch.randn(8, 1, 8, 8), torch.tensor([0, 1, 2, 255, 0, 1, 255, 2]))
    model = create_model("jal_digits_cnn", num_labels=3)
    trainer = JALTrainer(
        model=model,
        args=arguments(tmp_path, logging_steps=1),
        train_dataset=rows,
        loss=create_loss(loss, ignore_index=255),
    )
    trainer.train()
    assert all(np.isfinite(line["loss"]) for line in trainer.state.log_history if "loss" in line)


def test_another_ignore_index_is_left_out_of_the_figures(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 3, (8, 4, 4), generator=draw)
    maps[:, :2] = 255
    rows, model = Rows(torch.randn(8, 2, 4, 4, generator=draw), maps), nn.Conv2d(2, 3, 1)
    loss = create_loss("ce", ignore_index=255)
    trainer = JALTrainer(model=model, args=arguments(tmp_path), train_dataset=rows, loss=loss)
    predicted, figures = trainer.predict(rows).predictions.argmax(1), trainer.evaluate(rows)
    counted = maps.numpy() != 255
    assert figures["eval_accuracy"] == pytest.approx((predicted == maps.numpy())[counted].mean())


def test_batches_of_other_lengths_are_evaluated_where_another_label_is_ignored(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = [draw.integers(0, 3, 2 + row).tolist() for row in range(6)]
    rows = datasets.Dataset.from_dict(
        {"pixel_values": draw.normal(size=(6, 8, 2)).tolist(), "labels": labels}
    )

    def padded(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        length = max(len(row["labels"]) for row in batch)
        filled = [row["labels"] + [-1] * (length - len(row["labels"])) for row in batch]
        return {
            "pixel_values": torch.tensor([row["pixel_values"][:length] for row in batch]),
            "labels": torch.tensor(filled),
        }

    figures = []
    for size in (2, 6):
        torch.manual_seed(0)
        args = arguments(tmp_path, per_device_eval_batch_size=size)
        trainer = JALTrainer(
            model=Tokens(3), args=args, train_dataset=rows, data_collator=padded,
            loss=create_loss("ce", ignore_index=-1),
        )  # fmt: skip
        figures.append({name: trainer.evaluate(rows)[name] for name in ("eval_loss", "eval_accuracy")})
    assert figures[0] == pytest.approx(figures[1])


@pytest.mark.parametrize(
    "options", [{}, {"preprocess_logits_for_metrics": lambda logits, _: logits.argmax(-1)}]
)
def test_figures_are_the_same_where_batches_are_not_put_together(tmp_path: Path, options: Any) -> None:
    test, figures = raw(10, seed=1), []
    for together in (True, False):
        torch.manual_seed(0)
        args = arguments(tmp_path, eval_do_concat_batches=together, per_device_eval_batch_size=4)
        trainer = JALTrainer(model=network(), args=args, train_dataset=raw(), augment="none", **options)
        found = trainer.evaluate(test)
        names = ["eval_accuracy", *([] if options else ["eval_loss"])]  # the loss is that of logits alone
        figures.append([found[name] for name in names])
    assert figures[0] == pytest.approx(figures[1])


def test_a_step_keeps_no_logits_of_its_micro_batches(tmp_path: Path) -> None:
    """Under accumulation the guard must not hold every micro-batch's logits until the step ends."""
    import gc
    import weakref

    trainer = trainer_on(
        tmp_path, {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 4, "max_steps": 1}
    )
    seen: list[weakref.ref[Tensor]] = []
    most_alive = 0
    watch = trainer.guard.watch

    def spy(loss: Tensor, logits: Tensor, labels: Tensor, index: Tensor | None) -> None:
        nonlocal most_alive
        seen.append(weakref.ref(logits.untyped_storage()))
        watch(loss, logits, labels, index)
        gc.collect()
        most_alive = max(most_alive, sum(reference() is not None for reference in seen))

    trainer.guard.watch = spy  # type: ignore[method-assign]
    trainer.train()
    assert len(seen) == 4
    assert most_alive <= 2


def test_a_second_dataset_is_evaluated_itself_where_workers_persist(tmp_path: Path) -> None:
    first, second = Examples(rows=6, seed=0), Examples(rows=10, seed=1)
    args = JALTrainingArguments(
        output_dir=str(tmp_path), dataloader_num_workers=1, dataloader_persistent_workers=True, report_to="none",
        precision="fp32",
    )  # fmt: skip
    trainer = JALTrainer(timm_model(), args, eval_dataset=first)
    lengths = [len(trainer.get_eval_dataloader(data).dataset) for data in (None, second, None, first)]
    assert lengths == [6, 10, 6, 6]


def test_large_images_finished_on_the_device_train_as_those_that_the_workers_finish(tmp_path: Path) -> None:
    weights = []
    for is_later in (False, True):
        changes = {"gradient_accumulation_steps": 2, "dataloader_num_workers": 1}
        torch.manual_seed(0)
        trainer = trainer_on(tmp_path / str(is_later), changes, augment="randomresizedcrop")
        if is_later:  # as the trainer does by itself on a GPU
            trainer.train_dataset = trainer.train_dataset.finished_on_the_device()
        trainer.train()
        weights.append([parameter.detach().clone() for parameter in trainer.model.parameters()])
    assert all(map(torch.equal, *weights))
