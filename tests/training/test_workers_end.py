"""DataLoader workers end with what they work for, so that nobody waits for them later."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

import jal_hf
from tests.training.test_raw_data import raw

WORKERS = 2


def trainer_in(folder: Path, **changes: Any) -> jal_hf.JALTrainer:
    arguments = jal_hf.JALTrainingArguments(
        str(folder), num_train_epochs=2, per_device_train_batch_size=8, dataloader_num_workers=WORKERS,
        dataloader_persistent_workers=True, eval_strategy="epoch", save_strategy="no", use_cpu=True, disable_tqdm=True,
        **changes,
    )  # fmt: skip
    return jal_hf.JALTrainer(
        model=jal_hf.create_model("test_resnet", num_labels=3, image_size=64), args=arguments, loss="jal-ce",
        train_dataset=raw(), eval_dataset=raw(8, seed=1), augment="none",
    )  # fmt: skip


def workers() -> int:
    return len(multiprocessing.active_children())


def test_workers_persist_over_the_epochs_and_end_with_the_training(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    before = workers()
    seen: list[int] = []
    trainer.add_callback(_count(seen))
    trainer.train()
    assert min(seen) - before >= WORKERS
    assert workers() == before


def test_workers_end_when_a_training_fails(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    before = workers()
    trainer.add_callback(_count([], fails=True))
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.train()
    assert workers() == before


def test_workers_of_an_evaluation_and_a_prediction_end_with_it(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    before = workers()
    for judge in (trainer.evaluate, lambda: trainer.evaluate(raw(8)), lambda: trainer.predict(raw(8))):
        judge()
        assert workers() == before


def test_second_training_of_a_process_waits_for_no_worker_of_the_first(tmp_path: Path) -> None:
    """The parent collects garbage when it begins; each worker that it then had to end cost 5 seconds."""
    trainer_in(tmp_path / "0").train()
    trainer = trainer_in(tmp_path / "1")
    began = time.perf_counter()
    trainer.train()
    assert time.perf_counter() - began < 5 * WORKERS


def _count(seen: list[int], *, fails: bool = False) -> Any:
    from transformers import TrainerCallback

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if fails:
                raise RuntimeError("on purpose")
            seen.append(workers())

    return Count()
