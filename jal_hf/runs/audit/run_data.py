"""A finished run's model and the very training rows, with the very labels, that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import nn

from jal_hf.analysis.predictions import FloatArray, predict_logits, softmax
from jal_hf.data.column_values import integer_column, row_numbers
from jal_hf.data.fingerprint import row_digests
from jal_hf.data.images.encoded import stored_pictures
from jal_hf.ground.record import RunRecord
from jal_hf.ground.sentences import listed
from jal_hf.models import create_model
from jal_hf.models.create import check_start
from jal_hf.runs.config import RunConfig
from jal_hf.runs.parts import image_dataset, load_data

IntArray = npt.NDArray[np.int64]

PROBE = "a linear probe on the pretrained network's features, each row by a fold that never saw its label"
PROBE_FILE = "finetune/probe.npz"


def probe_probabilities(run: Path, data: Any, split: str) -> FloatArray | None:
    """What the probe of `jal-hf finetune` makes of the rows of a split, (N, K).

    None where it did not judge them all: a probe of other labels, or of other images or texts, does not count.
    """
    if not (run / PROBE_FILE).is_file():
        return None
    with np.load(run / PROBE_FILE) as stored:
        known = dict(stored)
    rows = data[split]
    index = row_numbers(rows)
    order = np.argsort(known["index"], kind="stable")
    places = order[np.searchsorted(known["index"], index, sorter=order).clip(0, len(order) - 1)]
    found: dict[str, npt.NDArray[Any]] = {"index": index, "labels": integer_column(rows, data.label_column)}
    if "contents" in known:  # absent from those of earlier versions
        found["contents"] = row_digests(rows, data.image_column)
    if not all(np.array_equal(known[name][places], values) for name, values in found.items()):
        return None
    return np.asarray(known["probabilities"][places], dtype=np.float64)


@dataclass(frozen=True)
class RunData:
    """`given`, `clean` and `index` are (N,) in the order of the training split; `images` gives batches."""

    data: Any
    model: nn.Module
    images: Any
    given: IntArray
    clean: IntArray | None
    index: IntArray
    class_names: list[str]
    warnings: list[str]
    held_back: Any = None
    run: Path | None = None

    def held_back_probabilities(self) -> FloatArray:
        """The judge's (N, K) on the rows that were held back for validation: the probe's, else the model's."""
        probed = None if self.run is None else probe_probabilities(self.run, self.data, "validation")
        return softmax(self.logits(self.held_back, "judging held-back labels")) if probed is None else probed

    @property
    def has_pictures(self) -> bool:
        """Whether `picture` gives any."""
        return True

    def names(self, split: str) -> list[str] | None:
        """What a person knows each row of a split by, in row order: its file; None where images have none."""
        found: list[str] | None = self.data.file_names(split)
        return found

    def logits(self, rows: Any, what: str) -> FloatArray:
        """(N, K) of the run's model on `images` or `held_back`; `what` names the progress bar."""
        return predict_logits(self.model, rows, what=what)

    def picture(self, position: int) -> Image.Image:
        """The image of the row at this position, as the dataset stores it."""
        return stored_pictures(self.data["train"], self.data.image_column, [position])[0]


def load_run_data(
    run: Path,
    record: RunRecord,
    config: RunConfig,
    *,
    split: str = "train",
    given: Any = None,
    is_other_data: bool = False,
) -> RunData:
    """Load the model and one split of a run.

    Args:
        given: A dataset object in place of the config's name.
        is_other_data: The data was named for this audit, and may differ from what the run was trained on.

    ValueError for a streaming run, for other classes than the model's, and for labels that differ from those
    the run was trained on, unless other data was asked for.
    """
    if config.data.streaming:
        raise ValueError(
            "The run streamed its data, so there is no fixed set of training rows to rank; "
            "train without --streaming on a part of the data (--max_train_samples) to audit it."
        )
    check_start(str(run))
    data = load_data(config, given)
    check_classes(data, record)
    model = create_model(str(run), num_labels=data.num_classes)
    if split not in data:
        raise ValueError(f"The run's data has no {split!r} split, only: {', '.join(data)}.")
    rows = data[split]
    given = np.asarray(rows[data.label_column][:], dtype=np.int64)
    known = "clean_label" in rows.column_names
    index = rows["index"][:] if "index" in rows.column_names else range(len(rows))
    return RunData(
        data=data,
        model=model,
        images=image_dataset(config, data, split, model),
        given=given,
        clean=np.asarray(rows["clean_label"][:], dtype=np.int64) if known else None,
        index=np.asarray(index, dtype=np.int64),
        class_names=[str(name) for name in data.class_names],
        warnings=label_warnings(data, record, is_other_data) if split == "train" else [],
        held_back=image_dataset(config, data, "validation", model) if "validation" in data else None,
        run=run,
    )


def check_classes(data: Any, record: RunRecord) -> None:
    """Nothing, where data has as many classes as the run's model, numbered as the model numbers them.

    Raises:
        ValueError: It has another number, or the model's names in another order.
    """
    if data.num_classes != record.model["num_labels"]:
        raise ValueError(
            f"The data has {data.num_classes} classes and the run's model {record.model['num_labels']}; "
            "give the --dataset that the run was trained on, or one of the same classes."
        )
    known, names = (
        [str(name) for name in found] for found in (record.dataset.get("class_names") or [], data.class_names)
    )
    if known != names and set(known) == set(names):
        raise ValueError(
            f"The data numbers the classes in another order than the run's model: {listed(names[:5])} for "
            f"{listed(known[:5])}. Give a dataset object whose ClassLabel has the model's order, as "
            "audit_run(RUN, dataset=...)."
        )


def label_warnings(data: Any, record: RunRecord, is_other_data: bool) -> list[str]:
    """What is to be said of training labels that are not the run's; ValueError unless other data was asked for."""
    # The digest is that of all training rows, those held back for validation among them.
    trained_on = record.noise.get("labels_sha256")
    if trained_on is None or trained_on == data.noise_report.labels_sha256:
        return []
    sentence = "The labels are not those that the run was trained on."
    if not is_other_data:
        raise ValueError(
            f"{sentence} The data has changed since; to audit it all the same, name it with --dataset."
        )
    return [sentence]
