"""Recipes from anywhere: a value of the wrong type or out of range names its key; odd YAML is a sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jal_hf.runs.values import known_fields
from tests.attack.helpers import refused
from tests.attack.values import json_values, wrong_values

WRONG = list(wrong_values())
FEW = WRONG[:: max(1, len(WRONG) // 60)]
ANY_FOLDER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
# Name, value in YAML, of those that the first attack found: each ended in a traceback, or in a run that was not asked.
FOUND = [
    ("overwrite", "'false'"),
    ("learning_rate", "abc"),
    ("num_train_epochs", "-1"),
    ("num_train_epochs", ".inf"),
    ("num_train_epochs", "0"),
    ("max_grad_norm", "-1"),
    ("gradient_accumulation_steps", "-2"),
    ("model", "3"),
    ("gradient_accumulation_steps", "0"),
    ("noise", "{a: 1}"),
    ("noise", "5"),
    ("loss", "[ce]"),
    ("seed", "1.5"),
    ("seed", "-3"),
    ("seed", "99999999999999999999"),
    ("data_seed", "1.0e+99"),
    ("per_device_train_batch_size", "0"),
    ("warmup_steps", "-1"),
    ("max_steps", "1.0e+400"),
    ("max_steps", "99999999999999999999999"),
    ("image_size", "0"),
    ("image_mean", "[a]"),
    ("output_dir", "''"),
    ("output_dir", "5"),
    ("weights", "7"),
    ("pretrained", "'yes'"),
    ("num_classes", "0"),
    ("noise_seed", "-4"),
    ("dataloader_num_workers", "-1"),
    ("weight_decay", "-1"),
    ("save_seconds", "0"),
    ("save_seconds", "-1"),
    ("parallelism_config", "3"),
    ("metric_for_best_model", "nope"),
    ("report_to", "nope"),
    ("neftune_noise_alpha", "5"),
    ("save_steps", "0"),
    ("eval_steps", "-2"),
]


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def sentence_on(folder: Path, name: str, value: Any) -> str:
    written = yaml.safe_dump({name: value})
    rest = "" if name == "dataset" else f"dataset: {folder / 'nowhere'}\n"
    return refused("train", recipe(folder, written + rest), *out(name, folder))


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def out(name: str, folder: Path) -> list[object]:
    return [] if name == "output_dir" else ["--output_dir", folder / "out"]


@pytest.mark.parametrize(("name", "value"), FEW, ids=str)
def test_value_of_the_wrong_type_is_refused_by_name(name: str, value: Any, tmp_path: Path) -> None:
    assert name in sentence_on(tmp_path, name, value)
    assert files(tmp_path) == ["recipe.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_every_value_of_the_wrong_type_is_refused_by_name(name: str, value: Any, tmp_path: Path) -> None:
    assert name in sentence_on(tmp_path, name, value)
    assert files(tmp_path) == ["recipe.yaml"]


@pytest.mark.parametrize(("name", "value"), FOUND)
def test_value_that_the_first_attack_got_through_is_refused_by_name(
    name: str, value: str, tmp_path: Path
) -> None:
    assert name in refused("train", recipe(tmp_path, f"{name}: {value}\n"), *out(name, tmp_path))
    assert files(tmp_path) == ["recipe.yaml"]


def test_number_that_yaml_reads_as_text_is_taken(tmp_path: Path) -> None:
    from jal_hf import RunConfig

    found = RunConfig.from_recipe(recipe(tmp_path, "learning_rate: 1e-2\nloss: ce\n"))
    assert math.isclose(found.training["learning_rate"], 0.01)


@pytest.mark.parametrize(
    "text",
    [
        "- a",
        "",
        "foo: [",
        "[" * 3000,
        "a: " + "{b: " * 3000,
        "&a [*a]",
        "a: &a [*a]",
        "\0",
        "a: !!python/object/apply:os.system ['touch pwned']",
        "1: 2",
        "'': 1",
        "fast: 5",
        "protocol: 5",
        "sources: x",
        "a: 1",
        "x" * 5000,
        "model: " + "x" * 5000,
        "loss: " + "y" * 4000,
        "noise: symmetric:" + "9" * 4000,
        "dataset: " + "z" * 3000,
        "noise: matrix:/dev/null",
        "noise: labels:/etc/hostname",
    ],
    ids=lambda text: text[:16],
)
def test_odd_recipe_is_a_sentence(text: str, tmp_path: Path) -> None:
    refused("train", recipe(tmp_path, text), "--output_dir", tmp_path / "out", "--max_steps", 1)
    assert files(tmp_path) == ["recipe.yaml"]


recipes = st.dictionaries(
    st.sampled_from(sorted(known_fields())) | st.text(max_size=12), json_values, min_size=1, max_size=6
)


def sentence_on_all(content: dict[str, Any], folder: Path) -> str:
    written = yaml.safe_dump(
        {**content, "dataset": str(folder / "nowhere"), "push_to_hub": False, "deepspeed": None}
    )
    return refused("train", recipe(folder, written), "--output_dir", folder / "out")


@given(content=recipes)
@settings(ANY_FOLDER, max_examples=25)
def test_recipe_of_anything_is_a_sentence(content: dict[str, Any], tmp_path: Path) -> None:
    assert sentence_on_all(content, tmp_path)
    assert files(tmp_path) == ["recipe.yaml"]


@pytest.mark.slow
@given(content=recipes)
@settings(ANY_FOLDER, max_examples=300)
def test_many_recipes_of_anything_are_a_sentence(content: dict[str, Any], tmp_path: Path) -> None:
    assert sentence_on_all(content, tmp_path)
    assert files(tmp_path) == ["recipe.yaml"]


@given(text=st.text(max_size=200))
@settings(ANY_FOLDER, max_examples=25)
def test_text_in_place_of_a_recipe_is_a_sentence(text: str, tmp_path: Path) -> None:
    assert refused("train", recipe(tmp_path, text), "--dataset", tmp_path / "nowhere")
    assert files(tmp_path) == ["recipe.yaml"]
