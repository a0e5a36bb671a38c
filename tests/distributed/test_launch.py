"""`accelerate launch -m jal_hf train` on two gloo processes, and the ready configuration files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from jal_hf.ground.run_log import read_log
from jal_hf.training.checkpoints import last_complete_checkpoint, step_of
from tests.distributed.launch import CONFIG, two_processes
from tests.distributed.ports import free_port

FILES = sorted(CONFIG.parent.glob("*.yaml"))
TRAIN = (
    "jal_hf",
    "train",
    "digits",
    "--disable_tqdm",
    "True",
    "--augment",
    "crop-flip",
    "--logging_strategy",
    "steps",
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_configuration_is_read_by_accelerate_and_listed_in_the_documentation(path: Path) -> None:
    assert load_config_from_file(str(path)).num_processes >= 1
    page = path.parent.parent / "docs" / "tutorials" / "many_gpus.md"
    assert f"`{path.name}`" in page.read_text(encoding="utf-8")


@pytest.mark.timeout(600)
def test_launched_run_leaves_one_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    launched = two_processes(*TRAIN, "--num_train_epochs", "2", "--output_dir", str(folder), port=free_port())
    output, _ = launched.communicate(timeout=560)
    assert launched.returncode == 0, output[-4000:]
    record = json.loads((folder / "run.json").read_text())
    assert record["training"]["world_size"] == 2
    assert record["training"]["global_batch_size"] == 128
    assert record["dataset"]["rows"] == 1438
    assert output.count("everything is in") == 1
    steps = [line["step"] for line in read_log(folder) if "loss" in line]
    assert len(steps) == len(set(steps))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_launched_stream_that_is_never_evaluated_ends_well(tmp_path: Path) -> None:
    # Its last batches differ from process to process, and no evaluation at an epoch's end brings them together.
    folder = tmp_path / "run"
    words = ("--streaming", "--noise", "symmetric:0.4,mode=iid", "--eval_strategy", "no", "--max_steps", "26")
    launched = two_processes(*TRAIN, *words, "--output_dir", str(folder), port=free_port())
    output, _ = launched.communicate(timeout=560)
    assert launched.returncode == 0, output[-4000:]
    record = json.loads((folder / "run.json").read_text())
    assert record["training"]["world_size"] == 2
    assert record["training"]["steps"] == 26
    assert (folder / "model.safetensors").is_file()
    assert (folder / "README.md").is_file()


def logged_steps(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_text().count('"loss"') if log.exists() else 0


def wait_for(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.05)


def workers_of(launcher: int) -> list[int]:
    """Process numbers of a launcher's children."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == launcher:
            children.append(int(status.parent.name))
    return sorted(children)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigterm_within_an_epoch_saves_in_time_and_resumes_bit_equal(tmp_path: Path) -> None:
    words = (*TRAIN, "--num_train_epochs", "6", "--logging_steps", "1", "--resume", "auto", "--output_dir")
    hashes = {}
    for name in ("whole", "stopped"):
        folder = tmp_path / name
        if name == "stopped":
            launched = two_processes(*words, str(folder), port=free_port())
            wait_for(lambda: logged_steps(tmp_path / "stopped") >= 15, 300)
            began = time.monotonic()
            os.kill(launched.pid, signal.SIGTERM)
            wait_for(
                lambda: (
                    (last := last_complete_checkpoint(tmp_path / "stopped")) is not None
                    and step_of(last) % 12
                ),
                30,
            )
            print(f"checkpoint complete after {time.monotonic() - began:.1f} s")
            output, _ = launched.communicate(timeout=60)
            assert launched.returncode != 0
            assert "Stopped by SIGTERM after step" in output
            assert not (folder / "run.json").exists()
        launched = two_processes(*words, str(folder), port=free_port())
        output, _ = launched.communicate(timeout=400)
        assert launched.returncode == 0, output[-4000:]
        hashes[name] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert hashes["whole"] == hashes["stopped"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the workers in /proc")
def test_dead_worker_ends_the_job_with_a_message(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*TRAIN, "--num_train_epochs", "300", "--logging_steps", "1", "--output_dir", str(folder))
    launched = two_processes(*words, port=free_port())
    wait_for(lambda: logged_steps(folder) >= 15, 280)
    began = time.monotonic()
    os.kill(workers_of(launched.pid)[1], signal.SIGKILL)
    output, _ = launched.communicate(timeout=60)
    print(f"ended after {time.monotonic() - began:.1f} s with {launched.returncode}")
    assert launched.returncode != 0
    assert "SIGKILL" in output
