"""The record of a run that is still going on, from what the Trainer's callbacks see."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from transformers import TrainerState, TrainingArguments


def progress_record(
    facts: dict[str, Any], args: TrainingArguments, state: TrainerState, model: Any
) -> dict[str, Any]:
    """`run.json` so far: the facts the trainer gave, completed by arguments, model and the log of
    evaluations.

    Args:
        facts: sections of a record that are known from the start, such as `dataset`, `noise` and `loss`.
        model: the network in training, or None.
    """
    record: dict[str, Any] = {
        "schema": 1,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": args.seed,
        "loss": {"name": getattr(args, "loss", "ce"), "params": {}},
        "model": model_section(model),
        "metrics": metrics_section(state),
        "training": {
            "epochs": state.epoch,
            "steps": state.global_step,
            "global_batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
            "world_size": args.world_size,
            "learning_rate": args.learning_rate,
            "weight_decay": args.weight_decay,
            "max_grad_norm": args.max_grad_norm,
        },
        "finished": False,
    }
    for key, value in facts.items():
        record[key] = {**record[key], **value} if isinstance(record.get(key), dict) and value else value
    return record


def model_section(model: Any) -> dict[str, Any]:
    """Name, size and preprocessing of a model, as far as its config tells."""
    config = getattr(getattr(model, "module", model), "config", None)
    preprocessing = getattr(config, "pretrained_cfg", None) or {}
    channels, _, size = preprocessing.get("input_size") or (None, None, None)
    architecture = getattr(config, "architecture", None)
    return {
        "name": architecture or getattr(config, "model_type", "unknown"),
        "architecture": architecture,
        "library": "timm" if architecture else "transformers",
        "parameters": sum(parameter.numel() for parameter in model.parameters())
        if model is not None
        else None,
        "num_labels": getattr(config, "num_labels", None),
        "image_size": size,
        "in_chans": channels,
    }


def metrics_section(state: TrainerState) -> dict[str, Any]:
    """Figures of the last evaluation so far and accuracy of the best one."""
    found = [line for line in state.log_history if line.get("eval_accuracy") is not None]
    if not found:
        return {"last": None, "best": None, "train": None}
    last, best = found[-1], max(found, key=lambda line: line["eval_accuracy"])
    return {
        "last": {
            "accuracy": last["eval_accuracy"],
            "top5_accuracy": last.get("eval_top5_accuracy"),
            "loss": last.get("eval_loss"),
            "epoch": last.get("epoch"),
        },
        "best": {"accuracy": best["eval_accuracy"], "epoch": best.get("epoch")},
        "train": None,
    }
