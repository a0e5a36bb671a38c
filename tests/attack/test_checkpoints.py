"""A damaged checkpoint is never trained on: the whole one before it, or a sentence."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from jal_hf.training.checkpoints import BEGUN, MARKER, damage, is_complete, mark_complete
from tests.attack.helpers import content, first, refused, train, unfinished

FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
MARKERS: tuple[bytes, ...] = (
    b"[]",
    b"{}",
    b"",
    b"null",
    b'{"files": []}',
    b'{"files": {}}',
    b'{"files": {"../../x": 1}}',
    b"\xff\xfe\0",
    b"[" * 90_000,
    b'{"files": {"model.safetensors": "1"}}',
    b'{"files": {"a": 1}, "sha256": []}',
    b'{"files": {"/etc/passwd": 1}}',
    b'{"files": {"model.safetensors": 1e999}}',
    b'{"files": {"model.safetensors": true}}',
)


def harm(path: Path, how: str, number: int = 0) -> None:
    data, draw = bytearray(path.read_bytes()), random.Random(number)
    if how == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "zero":
        data = bytearray(len(data))
    elif how == "tail":
        data[len(data) * 3 // 4 :] = bytes(len(data) - len(data) * 3 // 4)
    elif how == "swap":
        data.reverse()
    elif how == "cut":
        del data[len(data) // 2 :]
    path.write_bytes(bytes(data))


def sizes_only(checkpoint: Path) -> None:
    """The marker as version 0.1 wrote it, sizes alone, of what lies there now."""
    (checkpoint / BEGUN).unlink()
    files = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.name != MARKER}
    (checkpoint / MARKER).write_text(json.dumps({"step": 2, "files": files}))


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("how", ["flip", "zero"])
@pytest.mark.parametrize("name", FILES)
def test_damage_of_equal_size_is_found(name: str, how: str, finished: Path, tmp_path: Path) -> None:
    folder = unfinished(finished, tmp_path / "run")
    harm(folder / "checkpoint-2" / name, how)
    assert is_complete(folder / "checkpoint-2")
    assert name in str(damage(folder / "checkpoint-2"))
    named = folder / "checkpoint-2"
    assert name in refused(
        "train", "digits", "--output_dir", folder, "--resume", named, "--max_train_samples", 64
    )


@pytest.mark.parametrize(
    ("name", "how"),
    first(1, [("model.safetensors", "flip"), ("optimizer.pt", "zero"), ("trainer_state.json", "tail")]),
)
def test_damaged_checkpoint_gives_way_to_the_one_before(
    name: str, how: str, finished: Path, tmp_path: Path
) -> None:
    folder = unfinished(finished, tmp_path / "run")
    harm(folder / "checkpoint-2" / name, how)
    kept = content(folder / "checkpoint-2")
    printed = train(folder, "--resume", "auto").printed
    line = next(line for line in printed.splitlines() if "is damaged" in line)
    assert name in line
    assert line.endswith("going on from checkpoint-1.")
    assert content(folder / "damaged-checkpoint-2") == kept
    assert weights(folder) == weights(finished)


@pytest.mark.slow
def test_run_whose_every_checkpoint_is_damaged_starts_again(finished: Path, tmp_path: Path) -> None:
    folder = unfinished(finished, tmp_path / "run")
    for checkpoint in folder.glob("checkpoint-*"):
        harm(checkpoint / "optimizer.pt", "flip")
    assert "starting again" in train(folder, "--resume", "auto").printed
    assert weights(folder) == weights(finished)


@pytest.mark.parametrize("how", ["zero", "cut"])
@pytest.mark.parametrize("name", FILES)
def test_unreadable_file_under_a_marker_of_sizes_is_found(
    name: str, how: str, finished: Path, tmp_path: Path
) -> None:
    checkpoint = unfinished(finished, tmp_path / "run") / "checkpoint-2"
    harm(checkpoint / name, how)
    sizes_only(checkpoint)
    assert name in str(damage(checkpoint))


def test_whole_checkpoint_under_a_marker_of_sizes_counts(finished: Path, tmp_path: Path) -> None:
    folder = unfinished(finished, tmp_path / "run")
    sizes_only(folder / "checkpoint-2")
    train(folder, "--resume", "auto")
    assert weights(folder) == weights(finished)


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: repr(marker[:24]))
def test_odd_marker_does_not_count(marker: bytes, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"x")
    (checkpoint / MARKER).write_bytes(marker)
    assert not is_complete(checkpoint)
    (checkpoint / MARKER).unlink()
    (checkpoint / MARKER).mkdir()
    assert not is_complete(checkpoint)


@pytest.mark.parametrize("marker", first(1, [MARKERS[0], MARKERS[8]]), ids=lambda marker: repr(marker[:24]))
def test_checkpoint_under_an_odd_marker_is_kept_aside(marker: bytes, finished: Path, tmp_path: Path) -> None:
    folder = unfinished(finished, tmp_path / "run")
    (folder / "checkpoint-2" / MARKER).write_bytes(marker)
    train(folder, "--resume", "auto")
    assert (folder / "damaged-checkpoint-2" / "model.safetensors").is_file()
    assert weights(folder) == weights(finished)


def odd_state(change: dict[str, Any], checkpoint: Path) -> None:
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    (checkpoint / "trainer_state.json").write_text(json.dumps({**state, **change}))
    mark_complete(checkpoint)


@pytest.mark.parametrize(
    "change",
    first(
        2,
        [
            {"global_step": "x"},
            {"global_step": -5},
            {"epoch": "x"},
            {"stateful_callbacks": 5},
            {"nonsense": 1},
            {"max_steps": "x"},
            {"train_batch_size": "x"},
            {"log_history": 5},
            {"global_step": 10**30},
        ],
    ),
    ids=str,
)
def test_odd_state_that_was_marked_is_a_sentence(
    change: dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    folder = unfinished(finished, tmp_path / "run")
    odd_state(change, folder / "checkpoint-2")
    train(folder, "--resume", "auto", allowed=(0, 1, 2))


@pytest.mark.parametrize("name", first(1, ["optimizer.pt", "scheduler.pt", "rng_state.pth"]))
def test_odd_content_that_was_marked_is_a_sentence(name: str, finished: Path, tmp_path: Path) -> None:
    import torch

    folder = unfinished(finished, tmp_path / "run")
    torch.save([1, {"a": 2}], folder / "checkpoint-2" / name)
    mark_complete(folder / "checkpoint-2")
    train(folder, "--resume", "auto", allowed=(1, 2))


def damaged(number: int, finished: Path, folder: Path) -> tuple[bool, str | None]:
    """Whether harm at random changed a file of a checkpoint, and the damage that is found."""
    draw = random.Random(number)
    checkpoint = unfinished(finished, folder) / "checkpoint-2"
    name = draw.choice([path.name for path in sorted(checkpoint.iterdir()) if path.name != MARKER])
    before = (checkpoint / name).read_bytes()
    harm(checkpoint / name, draw.choice(["flip", "zero", "tail", "swap"]), number)
    changed = (checkpoint / name).read_bytes() != before
    return changed, damage(checkpoint)


@pytest.mark.parametrize("number", range(15))
def test_any_changed_byte_is_found(number: int, finished: Path, tmp_path: Path) -> None:
    changed, found = damaged(number, finished, tmp_path / "run")
    assert (found is not None) == changed


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100, 300))
def test_any_changed_byte_is_found_in_many_files(number: int, finished: Path, tmp_path: Path) -> None:
    changed, found = damaged(number, finished, tmp_path / "run")
    assert (found is not None) == changed
