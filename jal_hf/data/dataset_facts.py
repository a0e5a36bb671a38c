"""What `load_noisy_dataset` returns: ordinary Hugging Face dataset dicts that also know their facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import datasets

from jal_hf.noise import NoiseReport


@dataclass(frozen=True)
class StreamNoise:
    """The noise put on a stream: what was asked; what comes of it is not known before the rows are read."""

    spec: str
    kind: str
    seed: int
    mode: str
    asked_rate: float
    transition_matrix: list[list[float]] | None
    realised_rate: None = None
    realised_matrix: None = None
    labels_sha256: None = None
    rows: None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, under the names of `NoiseReport`."""
        return asdict(self)


@dataclass(frozen=True)
class DatasetFacts:
    """What is known about a loaded dataset.

    Attributes:
        name: as the user gave it.
        image_column: column with the images.
        label_column: column with the labels that training uses.
        class_names: names in the order of the label ids.
        noise_report: asked and realised noise of the training labels; for a stream what was asked.
        fingerprint: digest of class names, labels and a sample of the images: equal data, equal digest, on
            any machine.
        skipped_images: unreadable images left out.
        warnings: sentences on what looks odd but does not stop training.
    """

    name: str
    image_column: str
    label_column: str
    class_names: tuple[str, ...]
    noise_report: NoiseReport | StreamNoise
    fingerprint: str
    skipped_images: int = 0
    warnings: tuple[str, ...] = ()


class _Described:
    """Facts as attributes of a dict of splits; operations such as `map` return the plain dict type."""

    def __init__(self, splits: Mapping[str, Any], facts: DatasetFacts) -> None:
        super().__init__(splits)  # type: ignore[call-arg]  # the dict class stands behind in the bases
        self.facts = facts

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def image_column(self) -> str:
        return self.facts.image_column

    @property
    def label_column(self) -> str:
        return self.facts.label_column

    @property
    def class_names(self) -> list[str]:
        return list(self.facts.class_names)

    @property
    def num_classes(self) -> int:
        return len(self.facts.class_names)

    @property
    def noise_report(self) -> NoiseReport | StreamNoise:
        return self.facts.noise_report

    @property
    def fingerprint(self) -> str:
        return self.facts.fingerprint

    @property
    def skipped_images(self) -> int:
        return self.facts.skipped_images

    @property
    def warnings(self) -> list[str]:
        return list(self.facts.warnings)


class NoisyDatasetDict(_Described, datasets.DatasetDict):  # type: ignore[misc]
    """Splits `train`, `test` and `validation` (where there are such), with the facts beside them."""


class NoisyIterableDatasetDict(_Described, datasets.IterableDatasetDict):  # type: ignore[misc]
    """The same over streams."""
