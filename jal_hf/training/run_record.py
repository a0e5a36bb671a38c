"""The record of one run, filled from its settings, data and trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Subset

from jal_hf.models import is_own_network, weights_source
from jal_hf.training.building import image_dataset
from jal_hf.training.diagnostics import training_set_figures
from jal_hf.training.record import build_record, epoch_figures, read_log
from jal_hf.training.settings import RunSettings
from jal_hf.training.trainer import JALTrainer

# Beyond this many rows the pass over the training set is made on an evenly spaced part of it.
TRAIN_FIGURES_ROWS = 100_000


def make_record(
    settings: RunSettings, data: Any, trainer: JALTrainer, train_metrics: dict[str, float]
) -> dict[str, Any]:
    """The record of a run that has just been trained; evaluates what isn't in the log yet."""
    args = settings.training
    if trainer.eval_dataset is not None and not _evaluated_at_end(trainer):
        trainer.evaluate()
    metrics: dict[str, Any] = {"last": None, "best": None}
    if trainer.eval_dataset is not None:
        metrics["last"], metrics["best"] = epoch_figures(
            read_log(args.output_dir) or trainer.state.log_history
        )
    metrics["train"] = _train_figures(settings, data, trainer)
    return build_record(
        recipe=settings.recipe.name,
        command=settings.command,
        seed=args.seed,
        hardware={"device": str(args.device), "reason": args.hardware_reason, "world_size": args.world_size},
        dataset=_dataset_section(settings, data),
        noise=data.noise_report.to_dict() if data.noise_report is not None else None,
        loss={
            "name": trainer.criterion.config()["name"],
            "params": {k: v for k, v in trainer.criterion.config().items() if k != "name"},
            "preset": args.preset,
            "l1_weight_decay": args.l1_weight_decay,
        },
        model=_model_section(settings, trainer),
        training=_training_section(args, trainer, train_metrics),
        metrics=metrics,
        protocol={
            "paper": settings.recipe.protocol.get("paper"),
            "deviations": [*settings.deviations, *_precision_deviation(settings)],
        },
    )


def facts_at_start(settings: RunSettings, data: Any, trainer: JALTrainer) -> dict[str, Any]:
    """Sections of the record that are known before training."""
    return {
        "recipe": settings.recipe.name,
        "command": settings.command,
        "dataset": _dataset_section(settings, data),
        "noise": data.noise_report.to_dict() if data.noise_report is not None else None,
        "model": _model_section(settings, trainer),
    }


def _evaluated_at_end(trainer: JALTrainer) -> bool:
    return any(
        "eval_accuracy" in line and line.get("step") == trainer.state.global_step
        for line in trainer.state.log_history
    )


def _train_figures(settings: RunSettings, data: Any, trainer: JALTrainer) -> dict[str, Any] | None:
    """Recovered and memorised labels; None for a stream, which has no fixed set of rows to look at."""
    if settings.data.streaming:
        return None
    dataset = image_dataset(settings, data, "train", trainer.model, train=False, device=trainer.args.device)
    rows = data["train"]
    given = np.asarray(rows[data.label_column])
    clean = np.asarray(rows["clean_label"]) if "clean_label" in rows.column_names else None
    if len(dataset) > TRAIN_FIGURES_ROWS:
        chosen = np.linspace(0, len(dataset) - 1, TRAIN_FIGURES_ROWS).astype(int).tolist()
        dataset = Subset(dataset, chosen)
        given, clean = given[chosen], None if clean is None else clean[chosen]
    logits = trainer.predict(dataset, metric_key_prefix="train").predictions
    return training_set_figures(logits, given, clean, data.class_names)


def _dataset_section(settings: RunSettings, data: Any) -> dict[str, Any]:
    streaming = settings.data.streaming
    return {
        "name": data.name,
        "source": "hub" if _is_hub_id(data.name) else "local",
        "config": settings.data.dataset_config,
        "rows": None if streaming else len(data["train"]),
        "eval_rows": None if streaming or "test" not in data else len(data["test"]),
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "fingerprint": data.fingerprint,
        "skipped_images": data.skipped_images,
        "image_column": data.image_column,
        "label_column": data.label_column,
        "val_fraction": settings.data.val_fraction,
        "warnings": list(data.warnings),
    }


def _is_hub_id(name: str) -> bool:
    """Whether a dataset's name is an id on the Hub: a folder of that name is read first."""
    return name.count("/") == 1 and ":" not in name and not Path(name).expanduser().exists()


def _model_section(settings: RunSettings, trainer: JALTrainer) -> dict[str, Any]:
    model = trainer.accelerator.unwrap_model(trainer.model)
    preprocessing = model.config.pretrained_cfg
    channels, _, size = preprocessing["input_size"]
    source = weights_source(model)
    architecture = getattr(model.config, "architecture", None)
    return {
        "name": settings.model.model,
        "architecture": architecture,
        "own_network": is_own_network(architecture or ""),
        "library": "timm" if architecture else "transformers",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_labels": model.config.num_labels,
        "pretrained": source.pretrained if source else settings.model.pretrained,
        "weights": source.to_dict() if source else None,
        "image_size": size,
        "in_chans": channels,
        "mean": list(preprocessing["mean"]),
        "std": list(preprocessing["std"]),
    }


def _training_section(args: Any, trainer: JALTrainer, train_metrics: dict[str, float]) -> dict[str, Any]:
    global_batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    speed = trainer.throughput.images_per_second(global_batch)
    return {
        "epochs": trainer.state.epoch,
        "steps": trainer.state.global_step,
        "global_batch_size": global_batch,
        "world_size": args.world_size,
        "precision": args.precision_name,
        "channels_last": args.channels_last,
        "torch_compile": args.torch_compile,
        "seconds": round(float(train_metrics.get("train_runtime", 0.0)), 2),
        "images_per_second": None if speed is None else round(speed, 1),
        "data_wait_share": round(trainer.throughput.wait_share, 4),
        "optimizer": str(getattr(args.optim, "value", args.optim))
        + (f"({args.optim_args})" if args.optim_args else ""),
        "learning_rate": args.learning_rate,
        "lr_scheduler": args.epoch_schedule
        or str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "weight_decay": args.weight_decay,
        "max_grad_norm": args.max_grad_norm,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "skipped_steps": trainer.guard.skipped,
        # seconds and images_per_second are those of the part after it
        "resumed_from_step": trainer.checkpoints.resumed_from_step,
    }


def _precision_deviation(settings: RunSettings) -> list[str]:
    """The papers trained in float32; anything else is said."""
    if not settings.recipe.protocol.get("paper") or settings.training.precision_name == "fp32":
        return []
    return [f"{settings.training.precision_name} autocast instead of float32"]
