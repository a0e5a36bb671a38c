"""The probe of a fine-tuning: what out-of-fold predictions on frozen features say of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
from torch import nn

from jal_hf.analysis.judgement import Judgement, find_suspects, judge_labels
from jal_hf.data import NoisyDatasetDict, find_duplicates
from jal_hf.data.column_values import integer_column, with_column
from jal_hf.ground.files import whole_file
from jal_hf.runs.audit.run_data import PROBE_FILE
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune.features import cached_features
from jal_hf.runs.finetune.probe import Probe, fit_probe, out_of_fold, row_weights
from jal_hf.runs.finetune.stages import Contents
from jal_hf.runs.parts import image_dataset


def probe_stage(
    config: RunConfig,
    data: NoisyDatasetDict,
    contents: Contents,
    network: nn.Module,
    stages: Path,
    key: str,
) -> tuple[Probe, Judgement, np.ndarray[Any, Any], int | None]:
    """Probe of all training rows, judgement, weight of each row, and how many labels are suspect."""
    names = [name for name in ("train", "validation") if name in data]
    splits = [data[name] for name in names]
    both = datasets.concatenate_datasets(splits)
    images = image_dataset(config, _with(data, "train", both), "train", network)
    quiet = bool(config.training.get("disable_tqdm"))
    features = cached_features(network, images, stages, key, quiet=quiet)
    labels = integer_column(both, data.label_column)
    rows, rest = np.arange(len(splits[0])), np.arange(len(splits[0]), len(both))
    groups = find_duplicates({"train": both}, data.image_column, data.label_column).groups["train"]
    probe = fit_probe(features, labels, rows, data.num_classes, config.seed)
    stored = stages / Path(PROBE_FILE).name
    if stored.is_file():
        with np.load(stored) as known:
            probabilities = known["probabilities"]
    else:
        judged = out_of_fold(
            features, labels, rows, data.num_classes, groups=groups, seed=config.seed, quiet=quiet
        )
        probabilities = np.concatenate([judged, probe.probabilities(features, rest)])
        with whole_file(stored) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                index=integer_column(both, "index"),
                labels=labels,
                contents=np.concatenate([contents[name] for name in names]),
                probabilities=probabilities,
            )
    judgement = judge_labels(probabilities[rows].astype(np.float64), labels[rows], is_out_of_sample=True)
    suspects = None
    if judgement.noise_rate is not None:
        suspects = int(find_suspects(probabilities[rows].astype(np.float64), labels[rows], judgement).sum())
    own = row_weights(probabilities[rows, labels[rows]], judgement.agreement, judgement.noise_rate)
    return probe, judgement, own, suspects


def _with(data: NoisyDatasetDict, split: str, rows: datasets.Dataset) -> NoisyDatasetDict:
    return NoisyDatasetDict({**data, split: rows}, data.facts)


def weighted_rows(data: NoisyDatasetDict, own: np.ndarray[Any, Any]) -> NoisyDatasetDict:
    """Training rows with their weights: softer than leaving suspects out, which costs rare classes."""
    train = data["train"]
    if "sample_weight" in train.column_names:
        own = own * np.asarray(train["sample_weight"][:], dtype=np.float32)
    return _with(data, "train", with_column(train, "sample_weight", np.asarray(own, dtype=np.float32)))
