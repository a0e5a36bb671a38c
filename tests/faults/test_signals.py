"""SIGTERM and SIGINT end a run after a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from jal_hf.cli.main import main
from jal_hf.ground.run_log import read_log
from jal_hf.training.checkpoints import last_complete_checkpoint
from tests.faults.helpers import AtStep, assert_resumes_to, trainer_in, weights_after


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_within_an_epoch_saves_stops_and_resumes_bit_equal(
    number: signal.Signals, tmp_path: Path
) -> None:
    changes = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    expected = weights_after(tmp_path / "whole", **changes)
    folder, before = tmp_path / "stopped", signal.getsignal(number)
    trainer = trainer_in(folder, **changes)
    trainer.add_callback(AtStep(8, lambda: os.kill(os.getpid(), number)))
    trainer.train()
    assert trainer.stop_signals.stopped_by == number
    assert signal.getsignal(number) is before
    assert last_complete_checkpoint(folder) == folder / "checkpoint-9"
    assert [line["step"] for line in read_log(folder) if "eval_loss" in line] == [6]
    assert_resumes_to(folder, expected, **changes)


def test_signal_at_the_end_of_an_epoch_saves_after_the_evaluation_of_that_epoch(tmp_path: Path) -> None:
    changes = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    trainer = trainer_in(tmp_path, **changes)
    trainer.add_callback(AtStep(11, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    trainer.train()
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-12"
    assert [line["step"] for line in read_log(tmp_path) if "eval_loss" in line] == [6, 12]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_ends_with_128_plus_the_signal(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, finished = tmp_path / "run", threading.Event()

    def send() -> None:
        while not (folder / "checkpoint-23" / "complete.json").exists() and not finished.is_set():
            time.sleep(0.01)
        if not finished.is_set():
            os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    code = main(["train", "--output_dir", str(folder), "--num_train_epochs", "200", "--disable_tqdm", "True"])
    finished.set()
    sender.join()
    assert code == 128 + number
    message = capsys.readouterr().err
    assert f"Stopped by {number.name}" in message
    assert "--resume auto" in message
    assert last_complete_checkpoint(folder) is not None
