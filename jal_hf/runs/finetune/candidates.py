"""The models that fine-tuning compares: the robust one, cross entropy on the same rows, and the probe alone."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from jal_hf.analysis.predictions import predict_logits
from jal_hf.data import NoisyDatasetDict
from jal_hf.data.column_values import integer_column
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.models import create_model
from jal_hf.models.head import head_modules, last_layers
from jal_hf.runs.completion import complete_run
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune.probe import Probe
from jal_hf.runs.marker import mark_folder
from jal_hf.runs.parts import build_model, image_dataset
from jal_hf.runs.protocol import changed_setting
from jal_hf.runs.run import run_training
from jal_hf.runs.trainer import JALTrainer

ROBUST, PLAIN, PROBE = "robust fine-tuning", "cross entropy", "probe on frozen features"
FOLDERS = {ROBUST: "robust", PLAIN: "ce", PROBE: "probe"}


@dataclass(frozen=True)
class Candidate:
    """`agrees` (N,) says for each validation row whether its given label is the model's first choice."""

    name: str
    folder: Path
    record: RunRecord
    agrees: npt.NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """On the noisy validation split."""
        return float(self.agrees.mean()) if self.agrees.size else float("nan")


def candidate(name: str, config: RunConfig, data: Any, probe: Probe | None = None) -> Candidate:
    """One candidate in its own folder; one that was finished with the same config is taken as it is.

    Args:
        config: its `output_dir` is the folder.
        probe: the classifier that is put on the backbone and not trained further; None trains.
    """
    folder = config.output_dir
    record = finished_candidate(config)
    if record is None and probe is None:
        is_other = (folder / RECORD).is_file()
        steered = config.replace(**({"overwrite": True} if is_other else {"resume_from_checkpoint": "auto"}))
        record = run_training(steered, data=data).record
    elif record is None and probe is not None:
        record = _write_probe(config, data, probe)
    gc.collect()  # trainers refer to themselves: their loaders' processes would live beside the next one's
    assert record is not None
    model = create_model(str(folder), num_labels=data.num_classes)
    return Candidate(name, folder, record, _agreement(model, config, data))


def choose(candidates: Mapping[str, Candidate]) -> tuple[Candidate, str]:
    """The best by noisy validation, and why; the robust one unless another is better by more than its error.

    The error is the standard error of the difference over the same validation rows: on a few hundred of them, with
    wrong labels among them, less is chance.
    """
    robust = candidates[ROBUST]
    best, reason = robust, "the best by noisy validation"
    for other in candidates.values():
        if other is robust or not other.agrees.size:
            continue
        difference = other.agrees.astype(float) - robust.agrees.astype(float)
        error = float(difference.std() / np.sqrt(len(difference)))
        if difference.mean() > error and other.accuracy > best.accuracy:
            best = other
            reason = f"better than {ROBUST} by {100 * difference.mean():.1f} points of noisy validation"
        elif best is robust and difference.mean() > 0:
            ahead, least = 100 * difference.mean(), 100 * error
            reason = f"{other.name} is ahead by {ahead:.1f} points, within the error of {least:.1f}"
    return best, reason


def finished_candidate(config: RunConfig) -> RunRecord | None:
    """The record of a candidate that was finished with settings of the same result, or None."""
    if not (config.output_dir / RECORD).is_file():
        return None
    record = RunRecord.read(config.output_dir)
    public = config.published()
    return record if changed_setting(public.values, public.asked, record.config) is None else None


def _write_probe(config: RunConfig, data: Any, probe: Probe) -> RunRecord:
    model = build_model(config, data)
    put_probe(model, probe)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    (config.output_dir / "log.jsonl").unlink(missing_ok=True)
    trainer = JALTrainer.from_config(config, data=data, model=model)
    mark_folder(config.output_dir, trainer.local_paths)
    return complete_run(trainer, evaluate=True)


def put_probe(model: nn.Module, probe: Probe) -> None:
    """Make the probe the model's classifier, or each of the two whose mean a distilled network gives.

    A normalisation inside the classifier, which the probe's features did not pass, is made to change nothing.
    """
    for module in head_modules(model).values():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.reset_parameters()
    with torch.no_grad():
        for layer in last_layers(model):
            assert isinstance(layer, nn.Linear | nn.Conv2d)
            layer.weight.copy_(probe.weight.reshape(layer.weight.shape))
            if layer.bias is not None:
                layer.bias.copy_(probe.bias)


def _agreement(model: nn.Module, config: RunConfig, data: NoisyDatasetDict) -> npt.NDArray[np.bool_]:
    if "validation" not in data:
        return np.zeros(0, dtype=bool)
    logits = predict_logits(model, image_dataset(config, data, "validation", model))
    return np.asarray(logits.argmax(axis=1) == integer_column(data["validation"], data.label_column))
