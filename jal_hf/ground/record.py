"""The record of a run, `run.json`: the one place that cards, tables, plots and audits read."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from jal_hf.ground.files import JsonObject, read_object, write_text
from jal_hf.ground.secrets import redacted

SCHEMA = 2
RECORD = "run.json"
_LARGE = 100
"""Classes beyond which a row of a matrix stands on one line."""
_MARK = "\0"
_PACKAGES = ("jal_hf", "torch", "torchvision", "transformers", "timm", "datasets", "accelerate", "evaluate")

Section = Mapping[str, Any]
"""A part of a record; what a run does not know stands in it as None or is absent."""


@dataclass(frozen=True)
class RunRecord(Mapping[str, Any]):
    """What is known of one run, by section; see DESIGN's run folder for what each holds.

    A section that a run does not have is empty. Rates and accuracies are fractions in [0, 1]. As a mapping it gives
    the sections by name, so `record["loss"]["name"]` is `record.loss["name"]`.

    Attributes:
        config: The `RunConfig` that makes the run again; empty in records of schema 1, which kept the command alone.
        finished: False while the run goes on.
    """

    recipe: str = ""
    command: str | None = None
    seed: int | None = None
    config: Section = field(default_factory=dict)
    hardware: Section = field(default_factory=dict)
    dataset: Section = field(default_factory=dict)
    noise: Section = field(default_factory=dict)
    loss: Section = field(default_factory=dict)
    method: Section = field(default_factory=dict)
    model: Section = field(default_factory=dict)
    training: Section = field(default_factory=dict)
    metrics: Section = field(default_factory=dict)
    protocol: Section = field(default_factory=dict)
    hub: Section = field(default_factory=dict)
    comparison: Section = field(default_factory=dict)
    finetune: Section = field(default_factory=dict)
    versions: Section = field(default_factory=dict)
    created: str = ""
    schema: int = SCHEMA
    finished: bool = True

    @classmethod
    def new(cls, **sections: Any) -> RunRecord:
        """A record made now, with the time and the versions."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(**{"created": now, "versions": installed_versions(), **sections})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RunRecord:
        """A record from the content of a `run.json` of any schema.

        Raises:
            ValueError: The content names no loss and no model, so it is not the record of a run.
        """
        if not isinstance(content.get("loss"), Mapping) or not isinstance(content.get("model"), Mapping):
            raise ValueError("It is not the record of a run: it names no loss and no model.")
        for place, allowed, what in _FORMS:
            value: Any = content
            for name in place.split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None and not (isinstance(value, allowed) and _is_sane(value)):
                raise ValueError(f"It is not the record of a run: {place} is not {what}.")
        known: dict[str, Any] = {}
        for item in fields(cls):
            value = content.get(item.name)
            if item.name in _SECTIONS:
                known[item.name] = dict(value) if isinstance(value, Mapping) else {}
            elif value is not None and isinstance(value, _PLAIN[item.name]):
                known[item.name] = value
        return cls(**known)

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> RunRecord:
        """The record of a finished run, given its folder or the `run.json` itself.

        Raises:
            FileNotFoundError: There is none, so no run finished there.
            ValueError: The file is not the record of a run.
        """
        path = Path(run)
        path = path / RECORD if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(
                f"{run} holds no finished run: there is no {RECORD} in it. Give the --output_dir of a run that ended."
            )
        try:
            return cls.from_dict(read_object(path))
        except ValueError as error:
            raise ValueError(f"{path} cannot be used. {error}") from error

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write `run.json` whole or not at all; its presence marks a finished run."""
        return write_text(Path(folder) / RECORD, self.to_text())

    def to_text(self) -> str:
        """The content of `run.json`; a token that stands where a name should is replaced.

        Raises:
            ValueError: A number that JSON has no form for (NaN, infinity).
        """
        content, large = self.to_dict(), {}
        for name in ("transition_matrix", "realised_matrix"):
            if len(self.noise.get(name) or ()) > _LARGE:
                large[name] = self.noise[name]
        if large:
            content["noise"] |= {name: _MARK + name for name in large}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        for name, matrix in large.items():
            rows = ",\n   ".join(json.dumps(row, allow_nan=False) for row in matrix)
            text = text.replace(json.dumps(_MARK + name), f"[\n   {rows}\n  ]", 1)
        return redacted(text) + "\n"

    def to_dict(self) -> JsonObject:
        """Plain values, ready for JSON; optional sections that are empty are left out."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in content.items()
            if name not in _OPTIONAL or value
        } | ({} if self.noise else {"noise": None})

    def replace(self, **sections: Any) -> RunRecord:
        """This record with other sections."""
        return RunRecord(**{**{item.name: getattr(self, item.name) for item in fields(self)}, **sections})

    @property
    def last(self) -> Section:
        """Figures of the last evaluation, the headline; empty without a test split."""
        return self._figures("last")

    @property
    def saved(self) -> Section:
        """Figures of the best checkpoint's weights, where the folder holds these in place of the last ones."""
        return self._figures("saved")

    @property
    def headline(self) -> Section:
        """Figures of the weights in the folder."""
        return self.saved or self.last

    @property
    def headline_epoch(self) -> str:
        """Which epoch's weights are in the folder, in words."""
        if not self.saved:
            return "last epoch"
        metric = str(self.saved.get("chosen_by"))
        epoch = self.saved.get("epoch")
        split = "validation" if metric.startswith("validation_") else "test"
        return (
            f"epoch {f'{epoch:g}' if isinstance(epoch, int | float) else '?'}, chosen by the {split} split's "
            f"{metric.removeprefix('validation_').replace('_', ' ')}"
        )

    @property
    def best(self) -> Section:
        """Accuracy and epoch of the best evaluation on the test split."""
        return self._figures("best")

    @property
    def train(self) -> Section:
        """What the model makes of its own training labels."""
        return self._figures("train")

    @property
    def warnings(self) -> list[str]:
        """Sentences on what looks odd about data or outcome."""
        return [
            str(item)
            for part in (self.dataset, self.training, self.train)
            for item in part.get("warnings") or ()
        ]

    @property
    def title(self) -> str:
        """`loss method on dataset, noise`, as far as the record says so; of a path its last part."""
        dataset = PurePosixPath(str(self.dataset.get("name", "?"))).name
        return f"{self.trained_with} on {dataset}, noise {self.noise.get('spec', 'unknown')}"

    @property
    def trained_with(self) -> str:
        """The loss, and the training method where it is not the loss alone."""
        return row_name(str(self.loss.get("name", "?")), self.method.get("name"))

    def _figures(self, name: str) -> Section:
        found = self.metrics.get(name)
        return found if isinstance(found, Mapping) else {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)


_PLAIN: dict[str, tuple[type, ...]] = {
    "recipe": (str,), "command": (str,), "seed": (int,), "created": (str,), "schema": (int,), "finished": (bool,),
}  # fmt: skip
_NUMBER = (int, float)
_FORMS: tuple[tuple[str, type | tuple[type, ...], str], ...] = (
    *(
        (place, str, "text")
        for place in ("loss.name", "model.name", "dataset.name", "noise.spec", "hub.license")
    ),
    *((place, int, "a count") for place in ("model.num_labels", "dataset.num_classes")),
    *(
        (place, Mapping, "a mapping")
        for place in ("loss.params", "config.data", "metrics.last", "metrics.best", "metrics.saved")
    ),
    *((place, Mapping, "a mapping") for place in ("metrics.train", "metrics.train.confidence_histogram")),
    *(
        (place, list, "a list")
        for place in ("dataset.class_names", "protocol.deviations", "dataset.warnings")
    ),
    *(
        (place, list, "a list")
        for place in ("noise.transition_matrix", "noise.realised_matrix", "comparison.rows")
    ),
    *(
        (place, _NUMBER, "a number")
        for place in ("training.seconds", "training.epochs", "metrics.last.accuracy")
    ),
    *(
        (place, _NUMBER, "a number")
        for place in (
            "metrics.best.accuracy",
            "metrics.best.epoch",
            "metrics.saved.accuracy",
            "training.steps",
        )
    ),
)
"""What those parts of a record are that its readers rely on, where they are there."""
_SECTIONS = frozenset(item.name for item in fields(RunRecord)) - frozenset(_PLAIN)
_OPTIONAL = frozenset({"config", "hub", "comparison", "finetune", "method"})


def _is_sane(value: Any) -> bool:
    """Numbers that a run can have come to; anything else is no number."""
    return not isinstance(value, int | float) or abs(value) < 1e12


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    ours = sys.modules.get("jal_hf")  # a checkout on the path may lie beside an older installation
    return {**found, "jal_hf": str(getattr(ours, "__version__", found.get("jal_hf", "unknown")))}


def row_name(loss: str, method: str | None) -> str:
    """A row of a table: the loss, and the training method where it is not the loss alone."""
    return loss if method in (None, "plain") else f"{loss} {method}"
