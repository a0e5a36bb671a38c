"""Full disk, read-only folder, vanished file: one sentence, and earlier checkpoints as they were."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from jal_hf.analysis.style import new_figure
from jal_hf.cli.main import main
from jal_hf.models import create_model, export_torchscript
from jal_hf.runs.folder import find_start
from jal_hf.training.failures import RunError, explained
from tests.distributed.scenarios import Points, make_trainer
from tests.faults.helpers import AtStep, assert_resumes_to, trainer_in, weights_after


@contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes, as on a full disk or over a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_picture_and_exported_model_are_whole_or_as_they_were(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    figure, render = new_figure(4, 3), request.getfixturevalue("_pictures_are_blank")
    figure.subplots().plot([0, 1], [0, 1])
    pictures = [tmp_path / "curve.png", tmp_path / "curve.svg"]
    render(figure, *pictures)
    model = tmp_path / "model.pt"
    model.write_bytes(b"earlier")
    before = {path: path.read_bytes() for path in (*pictures, model)}
    with largest_file(1_000), pytest.raises(OSError, match="File too large"):
        render(figure, *pictures)
    network = create_model("jal_digits_cnn", num_labels=3, in_chans=1, image_size=8)
    with largest_file(1_000), pytest.raises(OSError, match="File too large"):
        export_torchscript(network, model)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_full_disk_during_a_save_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    expected = weights_after(tmp_path / "whole")
    folder = tmp_path / "full"
    trainer = trainer_in(folder, save_total_limit=1)
    limits = largest_file(2_000)
    trainer.add_callback(AtStep(6, limits.__enter__))
    try:
        with pytest.raises(RunError) as raised:
            trainer.train()
    finally:
        limits.__exit__(None, None, None)
    message = str(raised.value)
    assert "disk" in message
    assert "checkpoint-4 is whole: go on from it with --resume auto." in message
    assert find_start(folder, overwrite=False, resume="auto") == str(folder / "checkpoint-4")
    assert_resumes_to(folder, expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_full_file_system_ends_the_program_with_a_sentence(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            "train",
            "--output_dir",
            str(small_disk / "run"),
            "--num_train_epochs",
            "20",
            "--save_total_limit",
            "9",
        ]
    )
    assert code == 1
    message = capsys.readouterr().err
    assert "jal-hf: error:" in message
    assert "disk" in message.lower()
    assert "checkpoint-" in message
    checkpoint = find_start(small_disk / "run", overwrite=False, resume="auto")
    assert checkpoint is not None


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is Linux's")
@pytest.mark.parametrize(
    "line",
    [
        "train --dataset no/such-dataset --output_dir",
        "tune --dataset no/such-dataset --loss ce --output_dir",
        "compare digits --losses ce --out",
        "noise no/such-dataset --noise symmetric:0.2 --out",
    ],
)
def test_read_only_folder_is_refused_before_any_work(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line.split(), "/sys/jal-hf-run"]) == 2
    assert "The output folder /sys/jal-hf-run cannot be written" in capsys.readouterr().err


class Files(Dataset):  # type: ignore[type-arg]
    """Reads each example from a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.points, self.folder = Points(42, torch.float32), folder
        folder.mkdir()
        for row in range(42):
            torch.save(self.points.pixels[row], folder / f"{row}.pt")

    def __len__(self) -> int:
        return 42

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**self.points[row], "pixel_values": torch.load(self.folder / f"{row}.pt")}


@pytest.mark.parametrize("workers", [0, 1])
def test_vanished_file_is_named(workers: int, tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path / "run",
        1,
        1,
        torch.float32,
        save_strategy="steps",
        save_steps=4,
        dataloader_num_workers=workers,
    )
    trainer.train_dataset = Files(tmp_path / "files")
    trainer.add_callback(AtStep(7, lambda: os.remove(tmp_path / "files" / "30.pt")))
    with pytest.raises(RunError) as raised:
        trainer.train()
    assert f"The file {tmp_path / 'files' / '30.pt'} has vanished" in str(raised.value)
    assert "is whole: go on from it" in str(raised.value)


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), explained(tmp_path):
        raise ZeroDivisionError
