"""Records of runs to render cards from."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

_RECORD: dict[str, Any] = {
    "schema": 1,
    "recipe": "digits",
    "command": "jal-hf train digits --noise symmetric:0.4",
    "seed": 0,
    "created": "2026-01-02T03:04:05+00:00",
    "versions": {"python": "3.11.7", "jal_hf": "0.1.0", "torch": "2.15.0"},
    "hardware": {"device": "cpu", "reason": "no accelerator", "world_size": 1},
    "dataset": {
        "name": "digits",
        "config": None,
        "rows": 1437,
        "eval_rows": 360,
        "num_classes": 10,
        "class_names": [str(label) for label in range(10)],
        "fingerprint": "f00d",
        "skipped_images": 0,
        "image_column": "image",
        "label_column": "label",
        "val_fraction": 0.0,
        "warnings": [],
    },
    "noise": {
        "spec": "symmetric:0.4",
        "kind": "symmetric",
        "seed": 0,
        "mode": "exact",
        "asked_rate": 0.4,
        "expected_rate": 0.4,
        "realised_rate": 0.400139,
        "transition_matrix": [[0.6, 0.4], [0.4, 0.6]],
        "realised_matrix": [[0.6, 0.4], [0.4, 0.6]],
        "labels_sha256": "ab" * 32,
        "rows": 1437,
    },
    "loss": {
        "name": "jal-ce",
        "params": {"alpha": 1.0, "beta": 1.0, "a": 30.0, "q": 2.0, "reduction": "mean", "ignore_index": -100},
        "preset": "digits",
        "l1_weight_decay": 0.0,
    },
    "model": {
        "name": "jal_digits_cnn",
        "parameters": 62762,
        "num_labels": 10,
        "pretrained": False,
        "image_size": 8,
        "in_chans": 1,
        "mean": [0.3053],
        "std": [0.376],
    },
    "training": {
        "epochs": 40.0,
        "steps": 920,
        "global_batch_size": 64,
        "world_size": 1,
        "precision": "fp32",
        "seconds": 20.4,
        "images_per_second": 3041.5,
        "data_wait_share": 0.01,
        "optimizer": "sgd(momentum=0.9)",
        "learning_rate": 0.1,
        "lr_scheduler": "cosine_epoch",
        "weight_decay": 0.0005,
        "max_grad_norm": 5.0,
        "gradient_accumulation_steps": 1,
    },
    "metrics": {
        "last": {"accuracy": 0.955556, "top5_accuracy": 0.994444, "loss": 84.2, "epoch": 40.0},
        "best": {"accuracy": 0.961111, "epoch": 31.0},
        "train": {
            "clean_accuracy": 0.941545,
            "memorized_rate": 0.033043,
            "accuracy": 0.58,
            "confidence_histogram": {"edges": [0.0, 1.0], "clean": [862], "wrong": [575]},
        },
    },
    "protocol": {"paper": "JAL, Table 1", "deviations": ["num_train_epochs 40 instead of 120"]},
}


def example_record(**changes: Any) -> dict[str, Any]:
    """A complete record of a digits run; keyword arguments update its sections."""
    record = copy.deepcopy(_RECORD)
    for key, value in changes.items():
        record[key] = (
            {**record[key], **value}
            if isinstance(value, dict) and isinstance(record.get(key), dict)
            else value
        )
    return record


def write_example_record(folder: Path, **changes: Any) -> Path:
    """The record as `run.json` in `folder`."""
    path = folder / "run.json"
    path.write_text(json.dumps(example_record(**changes)), encoding="utf-8")
    return path
