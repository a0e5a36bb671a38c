"""One run from settings to a finished folder: data, model, training, export, record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from jal_hf.data import load_noisy_dataset, make_image_dataset
from jal_hf.losses import RobustLoss, create_loss
from jal_hf.models import create_model, default_in_chans, export_model
from jal_hf.noise import create_noise
from jal_hf.training.diagnostics import training_set_figures
from jal_hf.training.failures import explained, interrupted
from jal_hf.training.folder import prepare_folder
from jal_hf.training.record import build_record, epoch_figures, read_log, write_record
from jal_hf.training.settings import RunSettings
from jal_hf.training.trainer import JALTrainer

# Beyond this many rows the pass over the training set is made on an evenly spaced part of it.
TRAIN_FIGURES_ROWS = 100_000


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, its record, and the trainer that made it."""

    folder: Path
    record: dict[str, Any]
    trainer: JALTrainer


def run_training(settings: RunSettings, data: Any = None) -> RunResult:
    """Train as the settings say and write the run's folder.

    Args:
        settings: What `parse_settings` or `build_settings` gave.
        data: A dataset already loaded by `load_noisy_dataset` with these settings; None loads it here.

    Raises:
        ValueError: Settings, labels or images that cannot be trained on, before any training.
        FileExistsError: The folder holds a run and neither overwrite nor resume was asked.
    """
    args = settings.training
    folder = Path(args.output_dir)
    criterion = create_criterion(settings)
    if settings.data.noise and data is None:
        _check_noise_spec(settings.data.noise)
    with args.main_process_first(local=False, desc="preparing the output folder"):
        checkpoint = prepare_folder(folder, overwrite=args.overwrite, resume=args.resume_from_checkpoint)
    with explained(folder):
        set_seed(args.seed)
        if data is None:
            # One process of a machine downloads and decodes; the others find its files.
            with args.main_process_first(desc="loading the data"):
                data = load_data(settings)
        trainer = build_trainer(settings, data, criterion)
        args.run_facts |= _facts_at_start(settings, data, trainer)
        outcome = trainer.train(resume_from_checkpoint=checkpoint)
        if trainer.stop_signals.stopped_by:
            raise interrupted(trainer.stop_signals.stopped_by, trainer.state.global_step, folder)
        record = make_record(settings, data, trainer, outcome.metrics)
        weights = gathered_weights(trainer)
        if trainer.is_world_process_zero():
            export_model(trainer.accelerator.unwrap_model(trainer.model), folder, state_dict=weights)
            write_record(record, folder)
        trainer.accelerator.wait_for_everyone()
    return RunResult(folder, record, trainer)


def gathered_weights(trainer: JALTrainer) -> dict[str, Any] | None:
    """All weights where they are sharded over processes, else None; called on every process."""
    if not trainer.is_fsdp_enabled:
        return None
    weights: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model)
    return weights


def create_criterion(settings: RunSettings) -> RobustLoss:
    """The loss of a run.

    Raises:
        ValueError: A loss or a parameter that doesn't exist, or a value outside its range.
    """
    args = settings.training
    # A named preset's values already stand in loss_args; only 'auto' is left for the loss to work out.
    preset = "auto" if args.preset == "auto" else None
    return create_loss(args.loss, preset=preset, **args.loss_args)  # type: ignore[arg-type]


def _check_noise_spec(spec: str) -> None:
    """Parse the spec before the data is loaded, so that a slip costs nothing; class maps are checked with the data."""
    kind = spec.partition(":")[0]
    if kind in ("none", "symmetric", "pairflip"):
        create_noise(spec, num_classes=2)


def load_data(settings: RunSettings) -> Any:
    """The dataset of a run, noise included."""
    data = settings.data
    return load_noisy_dataset(
        data.dataset,
        dataset_config=data.dataset_config,
        train_split=data.train_split,
        eval_split=data.eval_split,
        image_column=data.image_column,
        label_column=data.label_column,
        num_classes=data.num_classes,
        noise=data.noise,
        noise_seed=data.noise_seed,
        max_train_samples=data.max_train_samples,
        max_eval_samples=data.max_eval_samples,
        val_fraction=data.val_fraction,
        streaming=data.streaming,
        on_bad_image=data.on_bad_image,
        seed=settings.training.seed,
    )


def build_trainer(
    settings: RunSettings, data: Any, criterion: RobustLoss, **trainer_options: Any
) -> JALTrainer:
    """Model, image datasets and trainer of a run."""
    asked, args = settings.data, settings.training
    set_seed(args.seed)
    model = create_model(
        settings.model.model,
        num_labels=data.num_classes,
        class_names=data.class_names,
        image_size=asked.image_size,
        in_chans=default_in_chans(settings.model.model, len(asked.image_mean) if asked.image_mean else None),
        mean=asked.image_mean,
        std=asked.image_std,
        pretrained=settings.model.pretrained,
    )
    with args.main_process_first(desc="decoding the images"):
        train, test, validation = (
            image_dataset(settings, data, split, model, train=split == "train", device=args.device)
            for split in ("train", "test", "validation")
        )
    return JALTrainer(
        model=model,
        args=args,
        loss=criterion,
        train_dataset=train,
        eval_dataset=test,
        validation_dataset=validation,
        **trainer_options,
    )


def image_dataset(
    settings: RunSettings, data: Any, split: str, model: Any, *, train: bool, device: Any = "cpu"
) -> Any:
    """One split as a torch dataset of ready batches, or None where there is no such split."""
    if split not in data:
        return None
    preprocessing = model.config.pretrained_cfg
    channels, _, size = preprocessing["input_size"]
    return make_image_dataset(
        data[split],
        image_column=data.image_column,
        label_column=data.label_column,
        image_size=size,
        in_chans=channels,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        # Evaluation is not augmented, but takes the protocol's own crop (scaled to 256, middle 224).
        augment=settings.data.augment,
        train=train,
        seed=settings.training.seed,
        device=device,
        on_bad_image=settings.data.on_bad_image,
    )


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


def _facts_at_start(settings: RunSettings, data: Any, trainer: JALTrainer) -> dict[str, Any]:
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
        dataset = image_dataset(
            settings, {**data, "train": rows.select(chosen)}, "train", trainer.model, train=False
        )
        given, clean = given[chosen], None if clean is None else clean[chosen]
    logits = trainer.predict(dataset, metric_key_prefix="train").predictions
    return training_set_figures(logits, given, clean)


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
    return {
        "name": settings.model.model,
        "architecture": getattr(model.config, "architecture", None),
        "library": "timm" if hasattr(model.config, "architecture") else "transformers",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_labels": model.config.num_labels,
        "pretrained": settings.model.pretrained,
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
