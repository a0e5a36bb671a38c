"""What `load_noisy_dataset` returns: ordinary Hugging Face dataset dicts that also know their facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import datasets

from jal_hf.data.images.encoded import file_names
from jal_hf.ground.files import JsonObject
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

    def to_dict(self) -> JsonObject:
        """Plain values, ready for JSON, under the names of `NoiseReport`."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class DatasetFacts:
    """What is known about a loaded dataset.

    Attributes:
        name: as the user gave it.
        image_column: column with the images.
        label_column: column with the labels that training uses.
        class_names: names in the order of the label ids.
        noise_report: asked and realised noise of the training labels; for a stream what was asked.
        fingerprint: digest of class names, labels, a sample of the images and the names of those that are files: equal
            data, equal digest, on any machine and in any folder.
        skipped_images: unreadable images left out.
        warnings: sentences on what looks odd but does not stop training.
        noise_known: whether the noise report tells the noise of the labels: it was put on clean ones here, clean
            labels stand beside them, or a clean benchmark was asked for with a noise that was named. False for own
            data, whose noise nobody knows: its report's rate of 0 is no finding.
        unlabelled_rows: rows left out because they have no label.
        shared_rows: test rows whose image is a training image too, byte for byte.
        contradicting_rows: training rows whose image stands there under another label too.
        own_validation: the validation split is the data's own, and was not held back from training rows.
        folder: where the names of image files start, on this machine; not for records.
        layout: `class folders` or `table`, where the images are files that these label.
    """

    name: str
    image_column: str
    label_column: str
    class_names: tuple[str, ...]
    noise_report: NoiseReport | StreamNoise
    fingerprint: str
    skipped_images: int = 0
    warnings: tuple[str, ...] = ()
    noise_known: bool = False
    unlabelled_rows: int = 0
    shared_rows: int = 0
    contradicting_rows: int = 0
    own_validation: bool = False
    folder: str | None = None
    layout: str | None = None


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
    def noise_known(self) -> bool:
        return self.facts.noise_known

    def file_names(self, split: str) -> list[str] | None:
        """Names of a split's image files; None where its images have none."""
        rows = self[split]  # type: ignore[index]  # the dict class stands behind in the bases
        return file_names(rows, self.image_column, self.facts.folder)

    @property
    def warnings(self) -> list[str]:
        return list(self.facts.warnings)


class NoisyDatasetDict(_Described, datasets.DatasetDict):  # type: ignore[misc]
    """Splits `train`, `test` and `validation` (where there are such), with the facts beside them."""


class NoisyIterableDatasetDict(_Described, datasets.IterableDatasetDict):  # type: ignore[misc]
    """The same over streams."""
