"""The sections of a run's record that a trainer knows, before, during and after training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from jal_hf.ground.places import place_name
from jal_hf.ground.record import RunRecord, Section
from jal_hf.ground.run_log import evaluation_figures
from jal_hf.models import is_own_network, weights_source
from jal_hf.training.methods import list_methods, method_info

_TASKS = {
    "ForImageClassification": "image-classification",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForSemanticSegmentation": "image-segmentation",
    "ForAudioClassification": "audio-classification",
    "ForVideoClassification": "video-classification",
}


def progress_record(trainer: Any) -> RunRecord:
    """The record of a run so far; `trainer.known_facts` holds the sections known from its start."""
    sections: dict[str, Any] = {
        "seed": trainer.args.seed,
        "loss": loss_section(trainer),
        "method": method_section(trainer),
        "model": model_section(
            trainer.accelerator.unwrap_model(trainer.model),
            trainer.raw_images.known_preprocessing,
            trainer.num_classes,
        ),
        "training": training_section(trainer),
        "metrics": {**evaluation_figures(trainer.state.log_history), "train": None},
        "hardware": {
            "device": str(trainer.args.device),
            "reason": trainer.args.hardware_reason,
            "world_size": trainer.args.world_size,
        },
        "finished": False,
    }
    for name, value in trainer.known_facts.items():
        known = sections.get(name)
        sections[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return RunRecord.new(**sections)


def loss_section(trainer: Any) -> Section:
    """Name and parameters of the loss, and the decay beside it."""
    parameters = dict(trainer.criterion.config())
    return {
        "name": parameters.pop("name"),
        "params": parameters,
        "preset": trainer.args.preset,
        "l1_weight_decay": trainer.args.l1_weight_decay,
    }


def method_section(trainer: Any) -> Section:
    """Name, parameters and formulas of the training method; empty for the loss alone."""
    name = trainer.method.name
    if name == "plain":
        return {}
    known = {part: method_info(part).formula for part in name.split("+") if part in list_methods()}
    return {**trainer.method.config(), "formulas": known}


def model_section(
    model: nn.Module, preprocessing: Mapping[str, Any] | None = None, num_classes: int | None = None
) -> Section:
    """Name, size and preprocessing of a model, as far as its config tells; the rest as its trainer was told."""
    config = getattr(model, "config", None)
    preprocessing = getattr(config, "pretrained_cfg", None) or preprocessing or {}
    channels, _, size = preprocessing.get("input_size") or (None, None, None)
    architecture = getattr(config, "architecture", None)
    source, kind = weights_source(model), getattr(config, "model_type", None)
    return {
        "name": architecture or kind or type(model).__name__,
        "architecture": architecture,
        "own_network": is_own_network(architecture or "") or kind == "mean-pooled",
        "library": "timm" if architecture else "transformers" if config is not None else "torch",
        "task": "image-classification" if architecture else task_of(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_labels": getattr(config, "num_labels", num_classes),
        "pretrained": source.pretrained if source else None,
        "weights": {**source.to_dict(), "name": place_name(source.name)} if source else None,
        "image_size": size,
        "in_chans": channels,
        "mean": list(preprocessing.get("mean") or ()) or None,
        "std": list(preprocessing.get("std") or ()) or None,
        **({"task": "text-classification"} if "SequenceClassification" in type(model).__name__ else {}),
    }


def task_of(model: nn.Module) -> str | None:
    """The Hub's name of what a transformers model does, by its class; None for any other module."""
    names = [base.__name__ for base in type(model).__mro__]
    found = (task for ending, task in _TASKS.items() if any(name.endswith(ending) for name in names))
    return next(found, None)


def training_section(trainer: Any) -> Section:
    """How the model is trained, and how fast."""
    args, state = trainer.args, trainer.state
    global_batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    speed = trainer.throughput.images_per_second(global_batch)
    runtimes = [line["train_runtime"] for line in state.log_history if "train_runtime" in line]
    return {
        "epochs": state.epoch,
        "steps": state.global_step,
        "global_batch_size": global_batch,
        "world_size": args.world_size,
        "precision": args.precision_name,
        "channels_last": args.channels_last,
        "torch_compile": args.torch_compile,
        "seconds": round(float(runtimes[-1]), 2) if runtimes else 0.0,
        "images_per_second": None if speed is None else round(speed, 1),
        "data_wait_share": round(trainer.throughput.wait_share, 4),
        "optimizer": str(getattr(args.optim, "value", args.optim))
        + (f"({args.optim_args})" if args.optim_args else ""),
        "learning_rate": args.learning_rate,
        "lr_scheduler": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "weight_decay": args.weight_decay,
        "max_grad_norm": args.max_grad_norm,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "warnings": list(trainer.head_watch.warnings),
        "loss_scale": trainer.loss_scale,
        "skipped_steps": trainer.guard.skipped,
        # seconds and images_per_second are those of the part after it
        "resumed_from_step": trainer.checkpoints.resumed_from_step,
    }
