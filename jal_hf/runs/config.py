"""`RunConfig`: a run before it runs, from a recipe and changes, or from the record of another run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

from jal_hf.data import DataArguments
from jal_hf.ground.places import place_name
from jal_hf.ground.secrets import SECRET_FIELDS, without_secrets
from jal_hf.runs.protocol import REPEATED_FIELDS, changed_values, deviations, flag_words
from jal_hf.runs.publishing import published_values
from jal_hf.runs.recipes import load_recipe
from jal_hf.runs.resolution import (
    PRESET_VALUES,
    available_cores,
    check_steps,
    default_folder,
    plain_changes,
    with_preset,
)
from jal_hf.runs.values import (
    ModelArguments,
    Values,
    checked_values,
    group_values,
)
from jal_hf.training.arguments import JALTrainingArguments

DEFAULT_RECIPE, OWN_DATA_RECIPE = "digits", "imagefolder"
_FOLLOWING = ("weight_decay", "l1_weight_decay", "noise_seed", "output_dir")
"""Fields that follow from others where neither the user nor the recipe says them."""


@dataclass(frozen=True)
class RunConfig:
    """All that decides one run, resolved: a recipe's values, the preset's, and what was asked for, which wins.

    Attributes:
        recipe: Name of a built-in recipe, or path of a YAML file.
        data, model: What is trained on, and which network.
        training: Values of `JALTrainingArguments` by field name; those left out keep that class's defaults.
        asked: What was set explicitly, by field name; nothing overrules it.
        fast: Whether the recipe's faster settings were taken.
        paper: Whose protocol the recipe follows, if anybody's.
        deviations: Sentences on what differs from that protocol.
        stated: Fields that stand in the recipe, and else would follow from loss, preset, seed or names.

    Example:
        config = RunConfig.from_recipe("cifar10", loss="gce").replace(seed=1)
        assert RunConfig.from_dict(config.to_dict()) == config
    """

    recipe: str
    data: DataArguments
    model: ModelArguments
    training: Values
    asked: Values = field(default_factory=dict)
    fast: bool = False
    paper: str | None = None
    deviations: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    secrets: Values = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_recipe(
        cls, recipe: str | Path | None = None, *, fast: bool = False, best: bool = False, **changes: Any
    ) -> RunConfig:
        """The run that a recipe describes, with changes by flag name of `jal-hf train`.

        Args:
            recipe: Built-in name or YAML file. None is `imagefolder` where a dataset is given, since own data gets
                no paper's noise, and `digits` where none is.
            fast: Take the recipe's faster settings.
            best: Take the loss and the training method that are recommended for the recipe's data, as if asked for.
            changes: Such as `loss="gce"`, `noise="symmetric:0.4"`, `seed=1`, `learning_rate=0.1`. A loss may be an
                object, a noise too.

        Raises:
            ValueError: An unknown recipe, name or value, as a sentence.
        """
        changes = plain_changes(changes)
        if recipe is None:
            own = changes.get("dataset") not in (None, "digits")
            recipe = OWN_DATA_RECIPE if own else DEFAULT_RECIPE
        content = load_recipe(str(recipe))
        if best:
            changes = {**checked_values(content.recommended(), f"Recipe {content.name!r}, best"), **changes}
        values = checked_values({**content.settings, **content.secrets}, f"Recipe {content.name!r}")
        check_steps(values)
        if fast:
            quick = {key: value for key, value in content.fast.items() if key != "why"}
            values |= checked_values(quick, f"Recipe {content.name!r}, fast")
        for name in ("loss", "method"):
            if name in changes and changes[name] != values.get(name):
                values.pop(f"{name}_args", None)
        stated = tuple(name for name in _FOLLOWING if values.get(name) is not None)
        config = _resolved(str(recipe), {**values, **changes}, changes, fast, stated)
        paper = content.protocol.get("paper")
        return replace_fields(
            config,
            paper=None if paper is None else str(paper),
            deviations=deviations(content, config.values, config.asked, fast),
        )

    def replace(self, **changes: Any) -> RunConfig:
        """This run with other values; what follows from a changed one (preset's parameters, folder) follows anew."""
        changes = plain_changes(changes)
        before, asked = self.values, {**self.asked, **changes}
        values = {**before, **self.secrets, **changes}
        if any(name in changes and changes[name] != before.get(name) for name in ("loss", "preset")):
            # An explicit decay, or the recipe's, holds for any loss; parameters belong to one.
            asked = {name: value for name, value in asked.items() if name != "loss_args" or name in changes}
            if "preset" in changes or before.get("preset") not in (None, "none"):
                own = {*asked, *(() if "preset" in asked else self.stated)}
                kept = [name for name in PRESET_VALUES if name in own]
            else:
                kept = [name for name in PRESET_VALUES if name != "loss_args" or name in asked]
            values = {
                name: value for name, value in values.items() if name not in PRESET_VALUES or name in kept
            }
        if (
            changes.get("method", before.get("method")) != before.get("method")
            and "method_args" not in changes
        ):
            values.pop("method_args", None)
            asked.pop("method_args", None)
        if "output_dir" not in {*asked, *self.stated}:
            values.pop("output_dir", None)
        # A seed of the noise that is another than the run's was meant, whoever said it.
        if "noise_seed" not in {*asked, *self.stated} and before.get("noise_seed") == before.get("seed"):
            values.pop("noise_seed", None)
        config = _resolved(self.recipe, values, asked, self.fast, self.stated)
        changed = changed_values(changes, config.values, before, self.paper)
        return replace_fields(config, paper=self.paper, deviations=(*self.deviations, *changed))

    def fitted(self, **chosen: Any) -> RunConfig:
        """This run with values that follow from its data: what was asked for stays, and no more counts as asked.

        Its folder stays too: it is named before the data is read.
        """
        kept = {name: value for name, value in chosen.items() if name not in self.asked}
        found = self.replace(**kept, output_dir=str(self.output_dir))
        return replace_fields(found, asked=self.asked, deviations=self.deviations)

    def repeated(self, **changes: Any) -> RunConfig:
        """The run that gives this one's result again, less what steers folders, pushes and reports.

        For runs made after somebody's record: nothing in it can push, overwrite, report or load code.
        """
        training = {name: value for name, value in self.training.items() if name in REPEATED_FIELDS}
        data = {**vars(self.data), **vars(self.model), **training}
        asked = {name: value for name, value in self.asked.items() if name in data}
        return replace_fields(self, training=training, asked=asked, secrets={}).replace(**changes)

    @property
    def name(self) -> str:
        """The recipe's name; of a file its stem."""
        return Path(self.recipe).stem

    @property
    def values(self) -> dict[str, Any]:
        """Every value by field name, secrets left out."""
        return {**vars(self.data), **vars(self.model), **self.training}

    @property
    def loss(self) -> str:
        return str(self.training.get("loss", "jal-ce"))

    @property
    def loss_args(self) -> Values:
        return dict(self.training.get("loss_args") or {})

    @property
    def noise(self) -> str:
        return str(self.data.noise)

    @property
    def method(self) -> str:
        return str(self.training.get("method", "plain"))

    @property
    def seed(self) -> int:
        return int(self.training["seed"])

    @property
    def output_dir(self) -> Path:
        return Path(str(self.training["output_dir"]))

    def arguments(self) -> JALTrainingArguments:
        """Fresh arguments of a trainer.

        Raises:
            ValueError: Values that cannot work together, as transformers says it.
        """
        values = {**self.training, **self.secrets}
        workers = values.get("dataloader_num_workers")
        if workers and "dataloader_num_workers" not in self.asked:
            # A recipe's number is the most that help; more workers than cores only get in each other's way.
            values["dataloader_num_workers"] = min(workers, available_cores())
        return JALTrainingArguments(**values)

    def to_dict(self) -> dict[str, Any]:
        """The resolved values, ready for JSON; fields that hold a token are left out."""
        return {
            "recipe": self.recipe,
            "data": dict(vars(self.data)),
            "model": dict(vars(self.model)),
            "training": without_secrets(self.training),
            "asked": dict(self.asked),
            "fast": self.fast,
            "paper": self.paper,
            "deviations": list(self.deviations),
            **({"stated": list(self.stated)} if self.stated else {}),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RunConfig:
        """The run that `to_dict` wrote down, for example under `config` in a run.json.

        Raises:
            ValueError: A section that is missing, a field that doesn't exist, or a value of the wrong type.
        """
        parts: list[dict[str, Any]] = []
        for section in ("data", "model", "training", "asked"):
            part = content.get(section)
            if not isinstance(part, Mapping):
                raise ValueError(f"It is not the config of a run: it has no section {section!r}.")
            parts.append(checked_values(part, "The config"))
        data, model, training, asked = parts
        deviations = content.get("deviations") or ()
        if not isinstance(deviations, list | tuple) or any(not isinstance(item, str) for item in deviations):
            raise ValueError("The config's deviations are no list of sentences.")
        stated = content.get("stated") or ()
        if not isinstance(stated, list | tuple) or not {*stated} <= {*_FOLLOWING}:
            raise ValueError("The config's stated fields are no list of fields that follow from others.")
        if "seed" not in training or "output_dir" not in training:
            raise ValueError("It is not the config of a run: it names no seed or no output_dir.")
        return cls(
            recipe=str(content.get("recipe") or DEFAULT_RECIPE),
            data=DataArguments(**group_values(DataArguments, data)),
            model=ModelArguments(**group_values(ModelArguments, model)),
            training=without_secrets(group_values(JALTrainingArguments, training)),
            asked=without_secrets(asked),
            fast=content.get("fast") is True,
            paper=None if content.get("paper") is None else str(content["paper"]),
            deviations=tuple(deviations),
            stated=tuple(stated),
        )

    def published(self) -> RunConfig:
        """This run with files and folders by name, where the config has a way through a disk."""
        return replace_fields(
            self,
            recipe=place_name(self.recipe),
            data=replace_fields(self.data, **published_values(vars(self.data))),
            model=replace_fields(self.model, **published_values(vars(self.model))),
            training=published_values(self.training),
            asked=published_values(self.asked),
            secrets={},
        )

    def command(self) -> str:
        """The line for a shell that makes this run again, as the record and the card show it."""
        shown = self.published()
        steering = ("output_dir", "overwrite", "resume_from_checkpoint")
        asked = {name: value for name, value in shown.asked.items() if name not in steering}
        return shlex.join(["jal-hf", "train", *replace_fields(shown, asked=asked).to_argv()])

    def to_argv(self) -> list[str]:
        """The words after `jal-hf train` that make this run again; a token is never among them."""
        return [self.recipe, *(["--fast"] if self.fast else []), *flag_words(self.asked)]


def _resolved(recipe: str, values: Values, asked: Values, fast: bool, stated: tuple[str, ...]) -> RunConfig:
    """A config of these values, the rest of them filled in."""
    found = with_preset(values, asked)
    found.setdefault("seed", 0)
    if found.get("noise_seed") is None:
        found["noise_seed"] = found["seed"]
    if found.get("output_dir") is None:
        found["output_dir"] = default_folder(Path(recipe).stem, found)
    training = group_values(JALTrainingArguments, found)
    return RunConfig(
        recipe=recipe,
        data=DataArguments(**group_values(DataArguments, found)),
        model=ModelArguments(**group_values(ModelArguments, found)),
        training=without_secrets(training),
        asked=without_secrets(asked),
        fast=fast,
        stated=stated,
        secrets={name: value for name, value in training.items() if name in SECRET_FIELDS},
    )
