"""The card: one golden text, metadata the Hub takes, and names that try to break it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from jal_hf.hub import render_model_card, repository_name, validate_card, validate_hub_settings, write_card
from jal_hf.hub.text import clean, code, plain
from jal_hf.losses import list_losses, loss_info
from jal_hf.training.progress_record import model_section
from tests.hub.local_hub import check_card
from tests.hub.records import example_record, write_example_record

GOLDEN = Path(__file__).with_name("golden_card.md")


def test_card_of_a_complete_record_equals_the_golden_text() -> None:
    hub = {"repo_id": "tester/digits-jal", "license": "mit"}
    assert render_model_card(example_record(hub=hub)) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"architecture": "another_cnn", "own_network": True}, True),
        ({"architecture": "jal_cnn8", "own_network": False}, False),
        ({"architecture": "jal_cnn8"}, True),  # a record from before the fact was in it
        ({"architecture": "resnet18"}, False),
    ],
)
def test_card_says_that_import_jal_hf_is_needed_where_the_record_does(
    facts: dict[str, Any], said: bool
) -> None:
    model = {key: value for key, value in example_record()["model"].items() if key != "own_network"}
    assert ("import jal_hf" in render_model_card({**example_record(), "model": {**model, **facts}})) is said


def test_card_metadata_is_read_back_by_the_hub_client() -> None:
    card = ModelCard(render_model_card(example_record()))
    result = card.data.eval_results[0]
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("accuracy", 0.955556, "test")
    assert result.dataset_args["train_label_noise"] == "symmetric:0.4"
    assert result.dataset_args["realised_rate"] == "0.400139"
    assert card.data.library_name == "timm"
    assert {"jal-hf", "noisy-labels", "robust-loss", "jal-ce"} <= set(card.data.tags)
    assert check_card(str(card)) == []


def beyond_images() -> list[tuple[torch.nn.Module, str | None]]:
    """Models that are no networks of images, and the Hub's name of what each does."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = BertConfig(vocab_size=16, max_position_embeddings=8, **sizes)

    class Sorter(BertForSequenceClassification):
        """A user's own class."""

    return [
        (BertForSequenceClassification(config), "text-classification"),
        (Sorter(config), "text-classification"),
        (BertForTokenClassification(config), "token-classification"),
        (torch.nn.Linear(3, 2), None),
    ]


def test_card_of_a_model_beyond_images_names_its_own_task() -> None:
    for model, task in beyond_images():
        text = render_model_card({**example_record(), "model": dict(model_section(model))})
        assert validate_card(text).get("pipeline_tag") == task
        assert "image-classification" not in text
        assert ("pipeline(" in text) is (task is not None)
        assert "An image classifier" not in text
        assert "timm, " not in text
        assert "wightman" not in text.lower()
        assert "random weights" not in text, "nobody knows where these weights came from"
        limits = text.partition("## Limitations")[2]
        assert "image" not in limits
        assert ("any text, also for one that is of none" in limits) is (task is not None)


def test_card_says_random_weights_only_where_that_is_known() -> None:
    said = "It was trained from random weights"
    fresh = {"kind": "fresh", "name": "jal_cnn8", "fresh_head": True}
    assert said in render_model_card(example_record())  # a record from before the weights were in it
    assert said in render_model_card(example_record(model={"weights": fresh}))
    for model in ({"weights": None}, {"pretrained": None, "weights": None}, {"pretrained": True}):
        assert said not in render_model_card(example_record(model=model))


@pytest.mark.parametrize(
    ("loss", "is_robust"),
    [("jal-ce", True), ("mae", True), ("ce", False), ("fl", False), ("my own", False)],
)
def test_card_calls_a_loss_robust_where_theory_does(loss: str, is_robust: bool) -> None:
    text = render_model_card(example_record(loss={"name": loss, "params": {}}))
    for words in ("with the robust loss `", "A robust loss bears wrong labels", "- robust-loss\n"):
        assert (words in text) is is_robust, words
    assert is_robust or f"trained with the loss `{loss}`" in text


@pytest.mark.parametrize(
    ("asked", "shown", "spec"),
    [(0.4, "about 40.00 % were wrong", "0: 40.00 % asked. The"), (None, "some were wrong", "0: - asked. The")],
)  # fmt: skip
def test_card_of_a_noisy_stream_says_what_was_asked(asked: float | None, shown: str, spec: str) -> None:
    unknown = dict.fromkeys(("realised_rate", "realised_matrix", "labels_sha256", "rows"))
    text = render_model_card(example_record(noise={"asked_rate": asked, **unknown}))
    assert f"of whose training labels {shown}" in text
    assert spec in text


@pytest.mark.parametrize(
    ("realised", "shown", "told"),
    [
        (0.42, "42.00 % were wrong", "42.00 % of 1,437 labels differ from"),
        (0.0, "0.00 % were wrong", "0.00 % of 1,437 labels differ from"),
        (None, "some were wrong", "some labels differ from"),
    ],
)
def test_card_of_labels_that_came_noisy_says_so(realised: float | None, shown: str, told: str) -> None:
    record = example_record()
    counted = {"realised_rate": realised, "realised_matrix": None, "rows": 1437, "labels_sha256": None}
    record["noise"] = {"spec": "given with the data", "kind": "given", **counted}
    text = render_model_card(record)
    assert f"of whose training labels {shown}" in text
    assert told in text
    assert "asked" not in text
    assert "train_label_noise: given with the data" in text


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "- 1 unreadable image was left out"), (2000, "- 2,000 unreadable images were left out"), (0, None)],
)
def test_card_counts_what_was_left_out(count: int, told: str | None) -> None:
    text = render_model_card(example_record(dataset={"skipped_images": count}))
    assert told in text if told else "left out" not in text


def test_card_of_labels_from_a_file_speaks_of_no_seed() -> None:
    noise = {"spec": "human:cifar10n.parquet#worse_label", "kind": "human", "mode": "fixed"}
    text = render_model_card(example_record(noise=noise))
    assert "labels from a file, the same for any seed: 40.01 % of 1,437 labels are wrong." in text
    assert "seed 0" not in text


def test_card_names_the_training_method_first_and_calls_none_of_it_no_deviation() -> None:
    method = {"name": "ema", "params": {"decay": 0.9}, "formulas": {"ema": "mean"}}
    assert "the robust loss `jal-ce` and the training method `ema` on" in render_model_card(
        example_record(method=method)
    )
    text = render_model_card(example_record(protocol={"deviations": ["method plain"]}))
    assert "method" not in text.replace("this method", "")
    assert "The run follows it." in text


def test_card_gives_sentences_whole() -> None:
    sentence = f"It begins, {'goes on, ' * 40}and ends."
    row = {"name": "cross entropy", "loss": "ce"}
    text = render_model_card(
        example_record(
            protocol={"deviations": [sentence]},
            dataset={"warnings": [sentence]},
            finetune={"candidates": [row], "reason": sentence, "judgement": {"reason": sentence}},
        )
    )
    assert text.count(sentence) == 4


@pytest.mark.parametrize(
    ("paper", "heading"),
    [
        ("JAL", "What differs from the protocol:"),
        (None, "What differs from the settings of the recipe `digits`:"),
    ],
)
def test_card_names_what_settings_differ_from(paper: str | None, heading: str) -> None:
    protocol = {"paper": paper, "deviations": ["num_train_epochs 3 instead of 40"]}
    assert f"{heading}\n\n- num_train_epochs 3" in render_model_card(example_record(protocol=protocol))


def test_card_names_a_hub_dataset_and_hides_a_local_path() -> None:
    on_hub = validate_card(render_model_card(example_record(dataset={"name": "ylecun/mnist"})))
    assert on_hub["datasets"] == ["ylecun/mnist"]
    text = render_model_card(example_record(dataset={"name": "/home/someone/data/mnist"}))
    assert "datasets" not in validate_card(text)
    assert "someone" not in text


def test_card_compares_with_cross_entropy_where_a_grid_holds_it() -> None:
    rows = [
        {"loss": "ce", "mean": 0.61, "std": 0.01, "seeds": 3},
        {"loss": "jal-ce", "mean": 0.95, "std": 0.004, "seeds": 3},
    ]
    assert "## Against cross entropy" in render_model_card(example_record(comparison={"rows": rows}))
    assert "| `ce` | 61.00 % | 1.00 % | 3 |" in render_model_card(example_record(comparison={"rows": rows}))
    assert "## Against cross entropy" not in render_model_card(example_record(comparison={"rows": rows[1:]}))


def test_card_names_lost_classes_and_the_part_that_its_time_is_of() -> None:
    warning = "Class 7 is lost: given to 6,142 training rows, predicted for 45, mostly taken for 1."
    record = example_record(training={"resumed_from_step": 11501})
    record["metrics"]["train"]["warnings"] = [warning]
    text = render_model_card(record)
    assert f"- {warning}" in text
    assert "| time | 20 s from step 11,501 on |" in text


@pytest.mark.parametrize("name", list_losses())
def test_card_tells_formula_and_paper_of_every_loss(name: str) -> None:
    text = render_model_card(example_record(loss={"name": name, "params": {}, "preset": None}))
    info = loss_info(name)
    assert info.formula in text
    assert info.citation in text
    assert name in validate_card(text)["tags"]


@pytest.mark.parametrize(
    "absent", ["noise", "dataset", "training", "metrics", "protocol", "versions", "command"]
)
def test_card_does_without_any_one_section(absent: str) -> None:
    record = example_record()
    del record[absent]
    card = render_model_card(record)
    validate_card(card)
    record[absent] = None
    assert render_model_card(record) == card


HOSTILE = st.one_of(
    st.text(min_size=1, max_size=60),
    st.text(alphabet="\n\r\t\x00\x85\u2028\u202e\ud800-: {}%#&*!|>'\"`<>[]()@\\~$", min_size=1, max_size=30),
    st.sampled_from(
        [
            "---\nlicense: mit\n---",
            "a\n---\n# Owned",
            "null",
            "yes",
            "1e3",
            "- a",
            "key: value",
            "*anchor &a",
            "!!python/object/apply:os.system ['id']",
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "{{ config }}",
            "{% for x in ().__class__.__mro__ %}{% endfor %}",
            "![x](https://example.org/x.png)",
            "[click](javascript:alert(1))",
            "https://example.org",
            "www.example.org",
            "```\n# Owned\n```",
            "``` ",
            "a | b\n|---|---|",
            "数字 ٣ 🦆",
            "\u202egnp.exe",
            "'; DROP TABLE",
            "%TAG ! tag:",
            "x" * 5000,
            "\ud800",
        ]
    ),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(HOSTILE, min_size=8, max_size=8, unique=True))
@example(["1", "2", "3", "4", "5", "6", "# 7", "8"])
def test_card_stays_valid_and_free_of_markup_under_hostile_names(names: list[str]) -> None:
    dataset, config, label, spec, loss, network, command, warning = names
    reference = render_model_card(_hostile(*(["x"] * 8)))
    text = render_model_card(_hostile(dataset, config, label, spec, loss, network, command, warning))
    assert check_card(text) == []
    text.encode("utf-8")
    metadata = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert metadata["library_name"] == "timm"
    assert metadata["license"] == "apache-2.0"
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.955556
    body, plain_body = text.split("\n---\n", 1)[1], reference.split("\n---\n", 1)[1]
    assert _headings(body)[1:] == _headings(plain_body)[1:], "a heading was slipped in"
    assert body.count("\n```") == plain_body.count("\n```"), "a code block was opened or closed"
    outside = re.sub(r"(?m)^```[\s\S]*?^```$", "", body)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert "<" not in outside
    assert re.findall(r"(?<!\\)!?\[[^\]]*\]\([^)]*\)", outside) == re.findall(
        r"!\[[^\]]*\]\(plots/\w+\.png\)", outside
    )
    assert "://" not in outside
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (3, 5) for row in rows), "a table row was broken"


def _headings(text: str) -> list[str]:
    """The headings of a card; a line inside a code block is none."""
    text = re.sub(r"(?m)^```[\s\S]*?^```$", "", text)
    return [line for line in text.splitlines() if re.match(r"#{1,6} ", line)]


def _hostile(*names: str) -> dict[str, Any]:
    dataset, config, label, spec, loss, network, command, warning = names
    return example_record(
        dataset={"name": dataset, "config": config, "class_names": [label, "b"], "warnings": [warning]},
        noise={"spec": spec, "mode": spec},
        loss={"name": loss, "params": {warning: label}, "preset": spec},
        model={"name": network},
        training={"optimizer": warning, "lr_scheduler": label},
        protocol={"paper": warning, "deviations": [label]},
        command=command,
        versions={spec: warning},
        comparison={"rows": [{"loss": "ce", "mean": 0.1}, {"loss": loss, "mean": 0.2}]},
    )


def test_escapes_keep_ordinary_names_as_they_are() -> None:
    assert plain("resnet18.a1_in1k") == "resnet18.a1_in1k"
    assert plain("a|b_ <c>") == r"a\|b\_ &lt;c&gt;"
    assert code("x`y|z") == "`x'y¦z`"
    assert clean(" a\n\tb\x00\u202e ") == "a b"


def test_written_card_equals_the_rendered_one(tmp_path: Path) -> None:
    write_example_record(tmp_path)
    assert write_card(tmp_path).read_text(encoding="utf-8") == render_model_card(tmp_path / "run.json")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["README.md", "run.json"]


def test_card_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no finished run"):
        render_model_card(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(ValueError, match="not the record of a run"):
        render_model_card(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("license: null", "license is empty"),
        ("license: 3", "license must be text"),
        ("datasets:\n- 7", "datasets must hold text"),
        ("license: apache", "no licence that the Hub knows"),
        ("a: [", "not valid YAML"),
        ("", "no metadata"),
    ],
)
def test_card_that_the_hub_would_refuse_is_refused_here(metadata: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_card(f"---\n{metadata}\n---\n# Title\n")


@pytest.mark.parametrize("folder", ["nce+rce-symmetric-0.4-seed0", "a--b..c", "-x-", "数", "x" * 200, "run"])
def test_run_without_a_repository_gets_a_name_the_hub_takes(folder: str) -> None:
    name = repository_name(folder)
    validate_hub_settings(f"tester/{name}")
    assert name


def test_settings_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"Did you mean .*apache-2\.0"):
        validate_hub_settings("tester/x", "apache-2")
    with pytest.raises(ValueError, match="is no repository name"):
        validate_hub_settings("tester/a b")
    validate_hub_settings("tester/x.y_z-1", "mit")


def test_card_and_metadata_tell_the_figures_of_the_best_weights_where_the_folder_holds_them() -> None:
    record = example_record()
    saved = {"accuracy": 0.7855, "epoch": 2.0, "chosen_by": "validation_accuracy"}
    record["metrics"] = {**record["metrics"], "saved": saved}
    text = render_model_card(record)
    where = "epoch 2, chosen by the validation split's accuracy"
    assert f"| **Clean test accuracy of these weights** | 78.55 %, {where} |" in text
    assert "| Clean test accuracy, last epoch |" in text
    assert "headline figure is that of the last epoch" not in text
    results = ModelCard(text).data.eval_results
    assert [(result.metric_value, result.metric_name) for result in results] == [
        (0.7855, f"Clean test accuracy, {where}")
    ]


def test_card_tells_what_a_scaled_loss_is_divided_by() -> None:
    record = example_record()
    assert "loss divided by" not in render_model_card(record)
    record["training"] = {**record["training"], "loss_scale": 3.930336880111121}
    assert "| loss divided by | 3.93034 |" in render_model_card(record)


def test_card_of_a_trainer_put_together_by_hand_calls_no_labels_clean() -> None:
    """Nobody knows the noise of what it was given; the card said none."""
    text = render_model_card({**example_record(), "noise": {}})
    assert "Clean test" not in text
    assert "Test accuracy" in text
    assert "train_label_noise: unknown" in text
