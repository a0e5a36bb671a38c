"""The metadata block of a model card, from the record of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from huggingface_hub import EvalResult, ModelCardData

from jal_hf.ground.files import JsonObject
from jal_hf.ground.record import RunRecord
from jal_hf.hub.text import clean
from jal_hf.hub.validation import DEFAULT_LICENSE

TASK_CLASSES = {
    "image-classification": "AutoModelForImageClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "image-segmentation": "AutoModelForSemanticSegmentation",
    "audio-classification": "AutoModelForAudioClassification",
    "video-classification": "AutoModelForVideoClassification",
}
"""Tasks of the Hub that a run's model can be for, and the class of transformers that loads such a model."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def card_metadata(record: RunRecord, title: str) -> ModelCardData:
    """Tags, licence, datasets and the clean test accuracy of the weights in the folder, as the Hub's own classes hold
    them.
    """
    hub = record.hub
    loss = record.loss.get("name", "unknown")
    dataset_id = hub_dataset_id(record)
    model = record.model
    datasets = [name for name in (dataset_id, _benchmark_id(record)) if name]
    values: JsonObject = {
        "library_name": "timm" if model.get("library", "timm") == "timm" else "transformers",
        "license": hub.get("license", DEFAULT_LICENSE),
        "pipeline_tag": model_task(record),
        "tags": [
            *("jal-hf", "noisy-labels", *(["robust-loss"] if is_robust(loss) else []), tag(loss)),
            *filter(None, [model_task(record)]),
        ],
        "base_model": base_model(str(model.get("name", ""))),
        "datasets": datasets or None,
        "metrics": ["accuracy"],
    }
    results = eval_results(record)
    if results:
        values |= {"model_name": title, "eval_results": results}
    return ModelCardData(**values)


def eval_results(record: RunRecord) -> list[EvalResult]:
    """Test accuracy (and top-5) of the weights in the folder, fractions in [0, 1]; the noise stands in the dataset's
    args. It is called clean where the noise of the data is known.
    """
    figures = record.headline
    dataset = record.dataset
    noise = record.noise
    name = dataset_label(record)
    arguments = {
        "train_label_noise": clean(noise.get("spec", "unknown")),
        "asked_rate": _number(noise.get("asked_rate")),
        "realised_rate": _number(noise.get("realised_rate")),
        "noise_seed": None if noise.get("seed") is None else str(noise["seed"]),
    }
    config, task = dataset.get("config"), model_task(record)
    shared: JsonObject = {
        "task_type": task or "other",
        "task_name": (task or "classification").replace("-", " ").title(),
        "dataset_type": hub_dataset_id(record) or tag(name),
        "dataset_name": name,
        "dataset_config": clean(config) if config else None,
        "dataset_split": clean(dataset.get("eval_split") or "test"),
        "dataset_args": {key: value for key, value in arguments.items() if value is not None},
    }
    test = "Test" if noise.get("kind", "unknown") == "unknown" else "Clean test"
    found = [
        ("accuracy", "accuracy", f"{test} accuracy, {clean(record.headline_epoch)}"),
        ("top5_accuracy", "top_5_accuracy", f"{test} top-5 accuracy, {clean(record.headline_epoch)}"),
    ]
    return [
        EvalResult(
            metric_type=metric, metric_name=label, metric_value=round(float(figures[key]), 6), **shared
        )
        for key, metric, label in found
        if isinstance(figures.get(key), int | float)
    ]


def model_task(record: RunRecord) -> str | None:
    """The Hub's name of what the model does; None where nobody knows. Records of version 0.1 are of images."""
    given = record.model.get("task", "image-classification")
    return given if given in TASK_CLASSES else None


def is_robust(loss: object) -> bool:
    """Whether theory calls a loss of this name robust, as symmetric or asymmetric; of a user's own nothing is known."""
    from jal_hf.losses import list_losses, loss_info

    return loss in list_losses() and loss_info(str(loss)).symmetry != "-"


def hub_dataset_id(record: RunRecord) -> str | None:
    """The dataset's id on the Hub, or None for a folder or a built-in dataset."""
    dataset = record.dataset
    name, source = str(dataset.get("name", "")), dataset.get("source", "hub")
    return name if source == "hub" and HUB_ID.fullmatch(name) else None


def _benchmark_id(record: RunRecord) -> str | None:
    """The benchmark that the run is entered in: among a card's datasets, the Hub finds its models by it."""
    entered = record.hub.get("benchmark")
    name = entered.get("id") if isinstance(entered, Mapping) else None
    return name if isinstance(name, str) and HUB_ID.fullmatch(name) else None


def dataset_label(record: RunRecord) -> str:
    """A dataset's name to show: its Hub id, or the last part of its path, for paths are nobody's business."""
    name = str(record.dataset.get("name") or "unknown dataset")
    if hub_dataset_id(record):
        return name
    return clean(name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])


def base_model(name: str) -> str | None:
    """The repository a run went on from, or None."""
    for prefix in ("hf-hub:", "hf_hub:", "transformers:"):
        rest = name.removeprefix(prefix).partition("@")[0]
        if name.startswith(prefix) and HUB_ID.fullmatch(rest):
            return rest
    return None


def tag(text: object) -> str:
    """Text as a tag of the Hub: lower case letters, digits, dots, plus signs and dashes."""
    return re.sub(r"[^a-z0-9.+]+", "-", clean(text).lower()).strip("-.") or "unknown"


def _number(value: object) -> str | None:
    return f"{value:.6g}" if isinstance(value, int | float) else None
