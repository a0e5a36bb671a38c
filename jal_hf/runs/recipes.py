"""Recipes: the papers' settings as YAML, one file a dataset, and a user's own files of the same form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from jal_hf.ground.secrets import SECRET_FIELDS, without_secrets
from jal_hf.ground.sentences import did_you_mean, shortened

_LONGEST_PATH = 1024
_SECTIONS = ("protocol", "sources", "fast", "best", "description")


@dataclass(frozen=True)
class Recipe:
    """Settings by flag name, and what is known about them.

    `settings` maps flag names of `jal-hf train` to values, `secrets` those that hold a token; `protocol` says which
    paper's setting it is and where it differs; `sources` gives the origin of each value; `fast` and `best` hold the
    overrides of `--fast` and `--best` and why.
    """

    name: str
    settings: Mapping[str, Any]
    description: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    fast: Mapping[str, Any] = field(default_factory=dict)
    best: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def recommended(self) -> dict[str, Any]:
        """Loss and training method by flag name that `--best` takes.

        Raises:
            ValueError: A recipe for which nothing is known.
        """
        found = {key: value for key, value in self.best.items() if key != "why"}
        if not found:
            raise ValueError(
                f"No loss and method are recommended for recipe {self.name!r}; there are some for "
                f"{', '.join(name for name in list_recipes() if load_recipe(name).best)}. examples/study_methods.py "
                "finds one on noisy labels."
            )
        return found


def list_recipes() -> list[str]:
    """Names of the built-in recipes, sorted."""
    folder = resources.files("jal_hf") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name: str) -> Recipe:
    """A built-in recipe by name, or a YAML file by path.

    Raises:
        ValueError: Neither a built-in name nor a file, or a file that is not a mapping of settings.
    """
    if name in list_recipes():
        text = (resources.files("jal_hf") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
        return _parse(name, text)
    path = Path(name)
    if len(name) < _LONGEST_PATH and path.is_file():
        return _parse(path.stem, path.read_text(encoding="utf-8"))
    if len(name) < _LONGEST_PATH and path.is_dir():
        raise ValueError(
            f"{name!r} is a folder, not a recipe; a folder of data is named by --dataset (dataset=)."
        )
    names = list_recipes()
    raise ValueError(
        f"Unknown recipe {shortened(name)!r}.{did_you_mean(name, names)} Built in: {', '.join(names)}; or give the "
        "path of a YAML file."
    )


def _parse(name: str, text: str) -> Recipe:
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"Recipe {name!r} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"Recipe {name!r} must be a mapping of flag names to values.")
    sections = {key: content.pop(key) for key in _SECTIONS if content.get(key) is not None}
    for key in ("protocol", "sources", "fast", "best"):
        if not isinstance(sections.get(key, {}), dict):
            raise ValueError(f"Section {key!r} of recipe {name!r} must be a mapping.")
    secrets = {key: value for key, value in content.items() if key in SECRET_FIELDS}
    return Recipe(name, without_secrets(content), **sections, secrets=secrets)
