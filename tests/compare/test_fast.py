"""The faster variants of the recipes say what they change."""

from __future__ import annotations

import pytest

from jal_hf.cli.flags import config_of_words
from jal_hf.runs.recipes import list_recipes, load_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_fast_variant_changes_settings_says_why_and_is_recorded(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.fast["why"]
    changes = {key: value for key, value in recipe.fast.items() if key != "why"}
    assert changes
    assert all(recipe.settings.get(key) != value for key, value in changes.items())
    settings = config_of_words([name, "--fast"])
    assert settings.training["num_train_epochs"] == changes["num_train_epochs"]
    for key in changes:
        assert any(sentence.startswith(f"{key} ") for sentence in settings.deviations)
    asked = config_of_words([name, "--fast", "--num_train_epochs", "3"])
    assert asked.training["num_train_epochs"] == 3
