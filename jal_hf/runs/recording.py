"""The record of a finished run, from its trainer and, where they are known, its config and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Subset

from jal_hf.ground.files import JsonObject
from jal_hf.ground.places import is_hub_id, place_name, published_spec, without_paths
from jal_hf.ground.record import RunRecord, Section
from jal_hf.ground.run_log import evaluation_figures, read_log, saved_figures
from jal_hf.noise import labels_sha256
from jal_hf.noise.columns import CLEAN_COLUMN, label_vector
from jal_hf.noise.image_hashes import hashes_sha256, image_hashes
from jal_hf.runs.config import RunConfig
from jal_hf.runs.publishing import PLACES, place_here
from jal_hf.training.checkpoints import step_of
from jal_hf.training.diagnostics import training_set_figures
from jal_hf.training.progress_record import progress_record
from jal_hf.training.trainer import RobustTrainer

# Beyond this many rows the pass over the training set is made on an evenly spaced part of it.
TRAIN_FIGURES_ROWS = 100_000

Facts = JsonObject
"""Sections of a record by name."""


def finished_record(trainer: RobustTrainer, *, evaluate: bool) -> RunRecord:
    """The record of a run that has just been trained; `evaluate` adds what isn't in the log yet.

    Where the best weights were loaded, the last ones are gone, and their figures are those of the last evaluation.
    """
    best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    if evaluate and best is None and trainer.eval_dataset is not None and not _evaluated_at_end(trainer):
        trainer.evaluate()
    log = read_log(str(trainer.args.output_dir)) or trainer.state.log_history
    metrics = {**evaluation_figures(log), "train": _train_figures(trainer)}
    if best is not None:
        saved = saved_figures(log, step_of(Path(best)), str(trainer.args.metric_for_best_model))
        metrics |= {} if saved is None else {"saved": saved}
    return progress_record(trainer).replace(metrics=metrics, finished=True)


def facts_of_config(config: RunConfig, data: Any, precision: str, paths: dict[str, str]) -> Facts:
    """Sections of a run's record that its config and its data tell.

    Args:
        precision: What is trained in.
        paths: Filled with where data, weights and labels lie on this machine, by field; the record keeps names.
    """
    public = config.published()
    for name in PLACES:
        if (place := place_here(name, config.values[name])) is not None:
            paths[name] = place
    return {
        "recipe": config.name,
        "command": config.command(),
        "config": public.to_dict(),
        "dataset": dataset_section(config, data),
        "noise": noise_section(data),
        "model": {"name": public.model.model},
        "protocol": {
            "paper": config.paper,
            "deviations": [*config.deviations, *_precision(config, precision)],
        },
    }


def noise_section(data: Any) -> Section:
    """The noise of loaded data, with files by name; of data whose noise nobody knows only that.

    Labels that came so with the data, beside `clean_label` and without a record of the draw, have what was counted.
    """
    report = getattr(data, "noise_report", None)
    if report is None:
        return {}
    section: JsonObject = report.to_dict()
    told = {name: section[name] for name in ("rows", "labels_sha256")}
    if not getattr(data, "noise_known", True):
        return {"spec": "unknown", "kind": "unknown", "realised_rate": None, **told}
    if report.kind == "none" and CLEAN_COLUMN in data["train"].column_names:
        counted = {name: section[name] for name in ("realised_rate", "realised_matrix")}
        return {"spec": "given with the data", "kind": "given", **counted, **told}
    return {**section, "spec": published_spec(str(section.get("spec", "none")))}


def dataset_section(config: RunConfig, data: Any) -> Section:
    """What was trained on."""
    streaming = config.data.streaming
    return {
        "name": place_name(data.name),
        "source": "hub" if is_hub_id(data.name) else "local",
        "config": config.data.dataset_config,
        "rows": None if streaming else len(data["train"]),
        "eval_rows": None if streaming or "test" not in data else len(data["test"]),
        **({} if streaming or "test" not in data else _test_hashes(data)),
        "validation_rows": len(data["validation"]) if "validation" in data else None,
        "unlabelled_rows": data.facts.unlabelled_rows,
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "fingerprint": data.fingerprint,
        "skipped_images": data.skipped_images,
        "image_column": data.image_column,
        "label_column": data.label_column,
        "val_fraction": config.data.val_fraction,
        "warnings": [without_paths(text, [data.name]) for text in data.warnings],
    }


def _test_hashes(data: Any) -> Section:
    """What a benchmark knows its test rows by; images, which must be decoded for it, of runs on a benchmark alone."""
    test = data["test"]
    found = {"eval_labels_sha256": labels_sha256(label_vector(test, data.label_column))}
    if data.noise_report.kind == "benchmark":
        found["eval_images_sha256"] = hashes_sha256(image_hashes(test, data.image_column))
    return found


def facts_of_trainer(trainer: RobustTrainer) -> Facts:
    """The same as far as a trainer that was put together by hand tells."""
    train, test = trainer.train_dataset, trainer.eval_dataset
    names = dict(getattr(getattr(trainer.model, "config", None), "id2label", None) or {})
    return {
        "recipe": "none",
        "dataset": {
            "name": "given to the trainer",
            "source": "local",
            "rows": len(train) if hasattr(train, "__len__") else None,
            "eval_rows": len(test) if hasattr(test, "__len__") and not isinstance(test, dict) else None,
            "num_classes": len(names) or None,
            "class_names": [str(names[key]) for key in sorted(names)],
            "image_column": trainer.raw_images.image_column,
            "label_column": trainer.raw_images.label_column,
            "warnings": [],
        },
        "protocol": {"paper": None, "deviations": []},
    }


def _evaluated_at_end(trainer: RobustTrainer) -> bool:
    return any(
        ("eval_accuracy" in line or "validation_accuracy" in line)
        and line.get("step") == trainer.state.global_step
        for line in trainer.state.log_history
    )


def _train_figures(trainer: RobustTrainer) -> Section | None:
    """Recovered and memorised labels; None for a stream, or for data whose rows cannot be looked at again."""
    dataset = trainer.unaugmented_train_dataset()
    columns = getattr(dataset, "columns", None)
    if columns is None or "labels" not in columns:
        return None
    given = columns["labels"].cpu().numpy()
    clean = columns["clean_label"].cpu().numpy() if "clean_label" in columns else None
    if given.ndim != 1 or given.dtype.kind not in "iu":
        return None
    if len(dataset) > TRAIN_FIGURES_ROWS:
        chosen = np.linspace(0, len(dataset) - 1, TRAIN_FIGURES_ROWS).astype(int).tolist()
        dataset = Subset(dataset, chosen)
        given, clean = given[chosen], None if clean is None else clean[chosen]
    logits = trainer.predict(dataset, metric_key_prefix="train").predictions
    logits = logits[0] if isinstance(logits, tuple) else logits
    names = trainer.known_facts.get("dataset", {}).get("class_names") or [
        str(k) for k in range(logits.shape[1])
    ]
    return training_set_figures(logits, given, clean, names)


def _precision(config: RunConfig, name: str) -> list[str]:
    """The papers trained in float32; anything else is said."""
    return [] if not config.paper or name == "fp32" else [f"{name} autocast instead of float32"]
