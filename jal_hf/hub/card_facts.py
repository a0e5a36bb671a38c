"""From the record of a run to the facts of its card, every user-given text made safe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jal_hf.ground.files import JsonObject
from jal_hf.ground.record import RunRecord
from jal_hf.ground.sentences import counted
from jal_hf.hub.citations import dataset_citations, network_citations
from jal_hf.hub.metadata import TASK_CLASSES, base_model, dataset_label, is_robust, model_task
from jal_hf.hub.text import block, clean, code, percent, plain
from jal_hf.hub.validation import DEFAULT_LICENSE

_COMMON_PARAMETERS = ("reduction", "ignore_index", "weight")
_MOST_CLASSES = 100
_SENTENCES = 1000  # characters of a text that is made of whole sentences
_NO_METHOD = "method plain"  # of records in which the loss alone was called a deviation
_INPUTS = {"image": "image", "text": "text", "token": "text", "audio": "recording", "video": "video"}


def card_facts(record: RunRecord) -> JsonObject:
    """The variables of `model_card.md.jinja`; absent parts of a record give None, and the card leaves them
    out.
    """
    model, dataset, noise = record.model, record.dataset, record.noise
    hub, protocol, task = record.hub, record.protocol, model_task(record)
    library = str(model.get("library", "timm"))
    loss_facts = _loss(record.loss)
    name, label = str(model.get("name", "unknown")), dataset_label(record)
    architecture = str(model.get("architecture") or name)
    network = base_model(name) or clean(name).rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    class_names = [plain(item) for item in dataset.get("class_names") or []]
    bibtex = [
        *([loss_facts["citation"]] if loss_facts["citation"] else []),
        *network_citations(architecture, library),
        *dataset_citations(str(dataset.get("name", "")), noise.get("kind")),
    ]
    return {
        "title": f"{plain(network)} trained with {plain(record.trained_with)} on {plain(label)}",
        "title_text": f"{network} trained with {clean(record.trained_with)} on {label}",
        "network": code(network),
        "dataset": plain(label),
        "classes": model.get("num_labels") or dataset.get("num_classes"),
        "class_names": class_names[:_MOST_CLASSES],
        "more_classes": max(0, len(class_names) - _MOST_CLASSES),
        "loss": loss_facts,
        "method": _method(record.method) if record.method else None,
        "noise": _noise(noise) if noise else None,
        "results": _results(record),
        "saved": plain(record.headline_epoch) if record.saved else None,
        "pictures": _pictures(record),
        "training": _training(record),
        "warnings": [plain(item, _SENTENCES) for item in record.warnings],
        "skipped": _skipped(dataset.get("skipped_images"), task),
        "paper": plain(protocol["paper"]) if protocol.get("paper") else None,
        "recipe": code(record.recipe),
        "deviations": [
            plain(item, _SENTENCES) for item in protocol.get("deviations") or [] if item != _NO_METHOD
        ],
        "comparison": _comparison(record.comparison),
        "finetune": _finetune(record.finetune),
        # older records lack the fact, and all our networks' names start alike
        "registered": bool(model.get("own_network", architecture.startswith("jal_"))),
        "library": library,
        "task": task,
        "model_class": TASK_CLASSES.get(task or ""),
        "kind": (task or "classification").replace("-", " ").replace("classification", "classifier")
        + (" model" if task == "image-segmentation" else ""),
        "source": hub.get("repo_id") or "path/to/this/folder",
        "on_hub": bool(hub.get("repo_id")),
        "license": hub.get("license", DEFAULT_LICENSE),
        "input": _input(task),
        "is_fresh": _is_fresh(model),
        "image_size": model.get("image_size"),
        "in_chans": model.get("in_chans"),
        "human_noise": noise.get("kind") == "human",
        "command": block(record.command) if record.command else None,
        "versions": ", ".join(f"{plain(key)} {plain(item)}" for key, item in record.versions.items()),
        "bibtex": list(dict.fromkeys(bibtex)),
    }


def _input(task: str | None) -> str:
    """What the model looks at, in a word."""
    return _INPUTS.get((task or "").partition("-")[0], "input")


def _skipped(count: object, task: str | None) -> str | None:
    """What was left out of training because it could not be read."""
    if not isinstance(count, int) or count < 1:
        return None
    left = (
        f"{counted(count, 'row')} without text"
        if _input(task) == "text"
        else counted(count, "unreadable image")
    )
    return f"{left} {'was' if count == 1 else 'were'} left out of training."


def _is_fresh(model: Mapping[str, Any]) -> bool:
    """Whether the model is known to have started from random weights.

    A model that was given as an object has no known weights; older records called it not pretrained.
    """
    is_given = "weights" in model and model["weights"] is None
    return model.get("pretrained") is False and not is_given and not base_model(str(model.get("name", "")))


def _loss(loss: Mapping[str, Any]) -> JsonObject:
    """Name, formula, parameters and source of the loss; a loss of the user's own has no formula here."""
    from jal_hf.losses import list_losses, loss_info

    name = clean(loss.get("name", "unknown"))
    info = loss_info(name) if name in list_losses() else None
    parameters = {
        clean(key): _value(value)
        for key, value in (loss.get("params") or {}).items()
        if key not in _COMMON_PARAMETERS and value is not None
    }
    if loss.get("l1_weight_decay"):
        parameters["l1_weight_decay"] = _value(loss["l1_weight_decay"])
    return {
        "name": name,
        "code": code(name),
        "robust": is_robust(name),
        "summary": info.summary if info else None,
        "formula": _formula(info) if info else None,
        "citation": info.citation if info else None,
        "parameters": ", ".join(code(f"{key}={value}") for key, value in parameters.items()),
        "preset": code(loss["preset"]) if loss.get("preset") else None,
    }


def _method(method: Mapping[str, Any]) -> dict[str, Any]:
    """Name, formulas and parameters of the training method; of several, by method."""
    formulas = dict(method.get("formulas") or {})
    params = dict(method.get("params") or {})
    by_method = params if len(formulas) > 1 else {clean(method.get("name", "unknown")): params}
    return {
        "code": code(method.get("name", "unknown")),
        "formulas": [f"{clean(name)}: {clean(formula)}" for name, formula in formulas.items()],
        "parameters": "; ".join(
            f"{code(name)} {', '.join(code(f'{key}={_value(value)}') for key, value in own.items())}"
            for name, own in by_method.items()
            if isinstance(own, Mapping) and own
        ),
    }


def _formula(info: Any) -> str:
    """The loss, and below it each of the parts it adds up."""
    from jal_hf.losses import loss_info

    lines = [info.formula, *(f"{part}: {loss_info(part).formula}" for part in info.parts or ())]
    return "\n".join(lines)


def _noise(noise: Mapping[str, Any]) -> JsonObject:
    rates = {"asked": noise.get("asked_rate"), "realised": noise.get("realised_rate")}
    return {
        "spec": code(noise.get("spec", "none")),
        "is_noisy": noise.get("kind", "none") not in ("none", "unknown"),
        "is_unknown": noise.get("kind") == "unknown",
        "is_given": noise.get("kind") == "given",
        "is_file": noise.get("kind") in ("human", "labels"),
        "mode": plain(noise.get("mode", "exact")),
        "seed": _count(noise.get("seed")),
        **{name: percent(rate) if isinstance(rate, int | float) else None for name, rate in rates.items()},
        "rows": _count(noise.get("rows")),
        "sha256": code(noise["labels_sha256"]) if noise.get("labels_sha256") else None,
    }


def _results(record: RunRecord) -> list[tuple[str, str]]:
    """Rows of the table of results, the accuracy of the card's own weights first."""
    last, best, train, saved = record.last, record.best, record.train, record.saved
    epoch = f" (epoch {best['epoch']:g})" if isinstance(best.get("epoch"), int | float) else ""
    test = "Test" if record.noise.get("kind", "unknown") == "unknown" else "Clean test"
    own = f", {plain(record.headline_epoch)}"
    rows = [
        (f"**{test} accuracy of these weights**", saved.get("accuracy"), own),
        ("Noisy validation accuracy of these weights", saved.get("validation_accuracy"), own),
        (
            f"{test} accuracy, last epoch" if saved else f"**{test} accuracy, last epoch**",
            last.get("accuracy"),
            "",
        ),
        (f"{test} top-5 accuracy, last epoch", last.get("top5_accuracy"), ""),
        (
            f"{test} accuracy, best epoch (chosen on the test set, for comparison only)",
            best.get("accuracy"),
            epoch,
        ),
        ("Noisy validation accuracy, last epoch", last.get("validation_accuracy"), ""),
        (
            f"Training {_input(model_task(record))}s whose clean label is predicted",
            train.get("clean_accuracy"),
            "",
        ),
        ("Wrong training labels that were memorised", train.get("memorized_rate"), ""),
    ]
    return [(name, percent(value) + extra) for name, value, extra in rows if isinstance(value, int | float)]


def _pictures(record: RunRecord) -> list[tuple[str, str]]:
    """(description, path) of the plots that a run with these facts has."""
    noise, found = record.noise, []
    names = {"transition_matrix": "asked", "realised_matrix": "realised"}
    drawn = [word for name, word in names.items() if noise.get(name) is not None]
    if drawn:
        found.append((f"Transition matrix, {' and '.join(drawn)}", "plots/transition_matrix.png"))
    if record.last:
        found.append(("Accuracy and loss over the epochs", "plots/curves.png"))
    histogram = record.train.get("confidence_histogram")
    if histogram:
        groups = "" if histogram.get("given") else ", clean against wrong labels"
        found.append((f"Confidence in the given label{groups}", "plots/confidence_histogram.png"))
    return found


def _training(record: RunRecord) -> list[tuple[str, str]]:
    """Rows of the table of training facts."""
    training, model, dataset = record.training, record.model, record.dataset
    speed = training.get("images_per_second")
    size, channels = model.get("image_size"), model.get("in_chans")
    decay, scale = training.get("weight_decay"), training.get("loss_scale")
    kind = f"{_input(model_task(record))}s"
    rows = [
        (f"training {kind}", _count(dataset.get("rows"))),
        (f"test {kind}", _count(dataset.get("eval_rows"))),
        (f"validation {kind}, their labels as noisy", _count(dataset.get("validation_rows"))),
        ("parameters", _count(model.get("parameters"))),
        ("input", f"{channels} x {size} x {size}" if size and channels else None),
        ("epochs", _count(training.get("epochs"))),
        ("steps", _count(training.get("steps"))),
        ("global batch size", _count(training.get("global_batch_size"))),
        ("processes", _count(training.get("world_size"))),
        ("optimizer", _text(training.get("optimizer"))),
        ("learning rate", _text(_value(training.get("learning_rate")))),
        ("loss divided by", None if scale in (None, 1, 1.0) else _text(_value(scale))),
        ("schedule", _text(training.get("lr_scheduler"))),
        ("weight decay (L2)", _text(_value(decay)) if decay is not None else None),
        ("gradient clipping", _text(_value(training.get("max_grad_norm")))),
        ("precision", _text(training.get("precision"))),
        ("seed", _count(record.seed)),
        ("time", training_time(training)),
        ("speed", f"{speed:,.0f} {kind} a second" if isinstance(speed, int | float) else None),
    ]
    return [(name, text) for name, text in rows if text is not None]


def training_time(training: Mapping[str, Any]) -> str | None:
    """Seconds of training; of a run that was resumed, those of its last part, which is said."""
    seconds, resumed = training.get("seconds"), _count(training.get("resumed_from_step"))
    if not isinstance(seconds, int | float):
        return None
    return f"{seconds:,.0f} s" + (f" from step {resumed} on" if resumed else "")


def _comparison(comparison: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the grid this run belongs to; empty unless cross entropy is among them."""
    rows = [row for row in comparison.get("rows") or [] if isinstance(row, Mapping) and "mean" in row]
    if not any(row.get("loss") == "ce" for row in rows):
        return []
    return [
        {
            "loss": code(row.get("loss", "?")),
            "mean": percent(row["mean"]),
            "std": percent(row["std"]) if isinstance(row.get("std"), int | float) else "-",
            "seeds": _count(row.get("seeds")) or "-",
        }
        for row in rows
    ]


def _finetune(section: Mapping[str, Any]) -> dict[str, Any] | None:
    """The candidates of a fine-tuning, what the labels look like, and why one was chosen."""
    rows = [row for row in section.get("candidates") or [] if isinstance(row, Mapping)]
    if not rows:
        return None

    def shown(value: object) -> str:
        return percent(value) if isinstance(value, int | float) else "-"

    return {
        "rows": [
            {
                "name": plain(row.get("name", "?")),
                "loss": code(row.get("loss", "?")),
                "figures": [
                    shown(row.get(name))
                    for name in ("validation_accuracy", "implied_accuracy", "test_accuracy")
                ],
                "chosen": bool(row.get("chosen")),
            }
            for row in rows
        ],
        "labels": plain((section.get("judgement") or {}).get("reason", ""), _SENTENCES),
        "suspects": counted(section["suspects"], "label") if section.get("suspects") else None,
        "reason": plain(section.get("reason", ""), _SENTENCES),
    }


def _count(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _text(value: object) -> str | None:
    return None if value is None else plain(value)


def _value(value: object) -> object:
    return None if value is None else f"{value:g}" if isinstance(value, float) else clean(value)
