"""One run from settings to a finished folder: data, model, training, export, record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from jal_hf.models import export_model
from jal_hf.noise import create_noise
from jal_hf.training.building import build_trainer, create_criterion, load_data
from jal_hf.training.failures import explained, interrupted
from jal_hf.training.folder import prepare_folder
from jal_hf.training.record import write_record
from jal_hf.training.run_record import facts_at_start, make_record
from jal_hf.training.settings import RunSettings
from jal_hf.training.trainer import JALTrainer


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
        args.run_facts |= facts_at_start(settings, data, trainer)
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


def _check_noise_spec(spec: str) -> None:
    """Parse the spec before the data is loaded, so that a slip costs nothing; class maps are checked with the data."""
    kind = spec.partition(":")[0]
    if kind in ("none", "symmetric", "pairflip"):
        create_noise(spec, num_classes=2)
