"""From a trained model to a finished folder: weights, record, plots and card."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jal_hf.analysis.reporting import report_plots
from jal_hf.analysis.run_plots import plot_run
from jal_hf.ground.record import RunRecord
from jal_hf.hub.model_card import write_card
from jal_hf.models import export_model
from jal_hf.runs.recording import finished_record
from jal_hf.runs.replacement import forget_replaced
from jal_hf.training.trainer import RobustTrainer

logger = logging.getLogger(__name__)


def complete_run(trainer: RobustTrainer, *, evaluate: bool) -> RunRecord:
    """Write weights, config, record, plots and card into the trainer's folder; called on every process.

    Args:
        evaluate: Evaluate where the log lacks it; else what is there is recorded.
    """
    folder = Path(str(trainer.args.output_dir))
    record = finished_record(trainer, evaluate=evaluate)
    weights = gathered_weights(trainer)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.is_world_process_zero():
        with trainer.method.evaluated(model):
            export_model(model, folder, state_dict=weights)
        if hasattr(trainer.processing_class, "save_pretrained"):
            trainer.processing_class.save_pretrained(folder)
        record.write(folder)
        forget_replaced(folder)
        pictures = draw(folder)
        write_card(folder)
        report_plots(trainer, pictures)
    trainer.accelerator.wait_for_everyone()
    return record


def finish_folder(folder: Path) -> None:
    """What a kill after the end of training may have left out of a finished run's folder: plots and card."""
    forget_replaced(folder)
    draw(folder)
    write_card(folder)


def draw(folder: Path) -> list[Path]:
    """The run's pictures; one that cannot be drawn never costs the card."""
    try:
        return plot_run(folder)
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        OSError,
    ) as error:
        logger.warning("The run's plots could not be drawn: %s", error)
        return []


def gathered_weights(trainer: RobustTrainer) -> Any:
    """All weights where they are sharded over processes, else None; called on every process."""
    return trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
