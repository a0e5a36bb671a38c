"""What is not ours is left alone, and what is ours is never lost before its replacement is whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jal_hf.runs.replacement import event_folders
from tests.attack.helpers import TINY, content, refused, train, unfinished

WAYS: list[list[str]] = [[], ["--overwrite"], ["--resume", "auto"]]
FOREIGN = [
    "README.md",
    "log.jsonl",
    "config.json",
    "model.safetensors",
    "plots/a.png",
    "audit/notes.txt",
    "checkpoint-7/weights",
]


@pytest.mark.parametrize("ways", WAYS, ids=str)
@pytest.mark.parametrize("name", FOREIGN)
def test_folder_of_somebody_else_is_refused_and_stays(name: str, ways: list[str], tmp_path: Path) -> None:
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    path.write_text("theirs")
    before = content(tmp_path)
    assert name.partition("/")[0] in refused("train", "digits", "--output_dir", tmp_path / "theirs", *ways)
    assert content(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_trainer_of_python_refuses_the_folder_of_somebody_else(overwrite: bool, tmp_path: Path) -> None:
    from jal_hf import JALTrainer

    (tmp_path / "README.md").write_text("theirs")
    trainer = JALTrainer.from_recipe(
        "digits",
        output_dir=str(tmp_path),
        max_train_samples=64,
        max_eval_samples=8,
        max_steps=1,
        overwrite=overwrite,
    )
    with pytest.raises(FileExistsError, match=r"README\.md"):
        trainer.train()
    assert content(tmp_path) == {"README.md": b"theirs"}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--dataset", "/nowhere"],
        ["--loss", "nope"],
        ["--model", "nope"],
        ["--loss_args", '{"a": "x"}'],
        ["--noise", "labels:/nowhere#x"],
        ["--report_to", "comet_ml"],
        ["--label_column", "nope"],
        ["--method", "nope"],
        ["--metric_for_best_model", "nope"],
    ],
    ids=lambda words: words[0],
)
def test_overwrite_removes_nothing_before_the_new_run_stands(wrong: list[str], run: Path) -> None:
    before = content(run)
    refused("train", "digits", "--output_dir", run, "--overwrite", "--max_train_samples", 64, *wrong)
    assert content(run) == before


def test_run_that_fails_before_its_first_checkpoint_brings_the_earlier_one_back(run: Path) -> None:
    before = content(run)
    printed = train(run, "--overwrite", "--loss", "ce", "--learning_rate", "1e38", allowed=(1,)).printed
    assert "is back" in printed
    assert content(run) == before


def test_earlier_run_comes_back_after_a_kill_in_any_move(run: Path, tmp_path: Path) -> None:
    from jal_hf.runs.lock import LOCK
    from jal_hf.runs.replacement import ASIDE, MOVING, bring_back, move_aside

    (run / "runs" / "audit").mkdir(parents=True)
    (run / "runs" / "audit" / "events.out.tfevents.1").write_text("of the audit")
    before = content(run)
    for halfway in (ASIDE, MOVING):
        move_aside(run)
        assert {path.name for path in run.iterdir()} <= {ASIDE, LOCK}
        if halfway == MOVING:
            (run / ASIDE).rename(run / MOVING)
            (run / MOVING / "log.jsonl").rename(run / "log.jsonl")
        else:
            (run / "log.jsonl").write_text("of the new run")
        assert bring_back(run)
        assert content(run) == before


def test_overwrite_ends_with_the_new_run_alone(run: Path) -> None:
    """Events for TensorBoard of the earlier run once stayed beside those of the new one."""
    old = (run / "model.safetensors").read_bytes()
    for name, events in (("Dec01_old", '{ "on_nonfinite": "stop" }'), ("Dec01_others", "{}")):
        (run / "runs" / name).mkdir(parents=True)
        (run / "runs" / name / "events.out.tfevents.1").write_text(events)
    train(run, "--overwrite", "--seed", 5)
    assert [path.name for path in (run / "runs").iterdir()] == ["Dec01_others"]
    assert (run / "model.safetensors").read_bytes() != old
    assert not [path for path in run.iterdir() if path.name.startswith(".repl")]


def test_events_of_a_run_are_known_as_ours(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    train(tmp_path / "run", "--report_to", "tensorboard")
    (found,) = {path.parent for path in (tmp_path / "run" / "runs").glob("*/events*")}
    assert event_folders(tmp_path / "run") == [found]


def test_second_run_in_a_folder_needs_a_word(run: Path) -> None:
    before = content(run)
    assert "--overwrite" in refused("train", "digits", "--output_dir", run)
    assert content(run) == before


@pytest.mark.parametrize("steps", [3, 4])
@pytest.mark.parametrize("is_finished", [True, False])
def test_resume_refuses_other_settings_than_the_run_began_with(
    is_finished: bool, steps: int, run: Path, tmp_path: Path
) -> None:
    folder = run if is_finished else unfinished(run, tmp_path / "cut")
    before = content(folder)
    line = ["train", "digits", *TINY, "--max_steps", steps, "--output_dir", folder, "--resume", "auto"]
    for name, value in (("loss", "gce"), ("seed", "5"), ("noise", "symmetric:0.1"), ("method", "ema")):
        assert f"began otherwise: {name} {value} instead of" in refused(*line, f"--{name}", value)
        assert content(folder) == before
    train(folder, "--resume", "auto", "--dataloader_num_workers", "0", "--logging_steps", "2", steps=steps)
    spread = ["--per_device_train_batch_size", "16", "--gradient_accumulation_steps", "4"]
    train(folder, "--resume", "auto", *spread, steps=steps + 1)


@pytest.mark.parametrize("ways", [["--resume", "auto"], ["--overwrite"]], ids=str)
@pytest.mark.parametrize("kind", ["folder", "link", "dangling", "file"])
def test_foreign_checkpoint_is_never_touched(
    kind: str, ways: list[str], finished: Path, tmp_path: Path
) -> None:
    folder, target = unfinished(finished, tmp_path / "run"), tmp_path / "target"
    target.mkdir()
    (target / "complete.json").write_text("{}")
    place = folder / "checkpoint-7"
    if kind == "folder":
        shutil.copytree(target, place)
        (place / "complete.json").rename(place / "mine")
    elif kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(target if kind == "link" else tmp_path / "nothing")
    before = content(tmp_path)
    assert "checkpoint-7" in refused(
        "train", "digits", "--output_dir", folder, "--max_train_samples", 64, *ways
    )
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["plots", "audit", ".replaced", ".jal_hf.lock"])
def test_link_in_place_of_what_is_ours_is_refused(name: str, finished: Path, tmp_path: Path) -> None:
    folder, target = unfinished(finished, tmp_path / "run"), tmp_path / "target"
    target.mkdir()
    (target / "a.png").write_text("theirs")
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    assert "link" in refused(
        "train", "digits", "--output_dir", folder, "--resume", "auto", "--max_train_samples", 64
    )
    assert content(target) == {"a.png": b"theirs"}


def test_limit_of_checkpoints_removes_only_our_own(tmp_path: Path) -> None:
    from jal_hf.training.checkpoints import CheckpointCallback, begin_checkpoint, mark_complete

    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "theirs").write_text("x")
    for step in (2, 3, 4):
        begin_checkpoint(tmp_path / f"checkpoint-{step}")
        mark_complete(tmp_path / f"checkpoint-{step}")
    CheckpointCallback(1)._remove_old(tmp_path, {"checkpoint-4"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-4"]


@pytest.mark.parametrize(
    "words",
    [["--loss", "nope"], ["--dataset", "/nowhere"], ["--model", "nope"], ["--noise", "labels:/nowhere#x"]],
    ids=str,
)
def test_run_that_never_began_leaves_no_folder(words: list[str], tmp_path: Path) -> None:
    refused("train", "digits", *words, "--max_train_samples", 64, "--output_dir", tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", " ", "w" * 300, "a/" * 2000 + "b", "a\0b"], ids=lambda name: name[:3] or "empty"
)
def test_folder_that_cannot_be_is_a_sentence(name: str, tmp_path: Path) -> None:
    refused("train", "digits", "--output_dir", name)
    assert list(tmp_path.iterdir()) == []


def test_two_trainings_never_share_a_folder_and_a_kill_frees_it(finished: Path, tmp_path: Path) -> None:
    folder = unfinished(finished, tmp_path / "run")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom jal_hf.runs.lock import held\n"
        "with held(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        before = content(folder)
        assert "Another process" in refused(
            "train", "digits", "--output_dir", folder, "--resume", "auto", "--max_train_samples", 64
        )
        # Data that is not there: the folder is looked at first.
        assert "Another process" in refused(
            "finetune", "/nowhere", "--output_dir", folder, "--model", "resnet10t", "--pretrained", "false"
        )
        assert content(folder) == before
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    train(folder, "--resume", "auto")


def test_trainer_of_python_holds_its_folder_while_it_trains(tmp_path: Path) -> None:
    import torch
    from transformers import TrainerCallback

    from jal_hf.runs.lock import held
    from tests.faults.helpers import trainer_in

    found = []

    class Second(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            code = "import sys\nfrom pathlib import Path\nfrom jal_hf.runs.lock import held\n"
            code += "with held(Path(sys.argv[1])): pass"
            if not found:
                found.append(
                    subprocess.run(
                        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
                    )
                )

    trainer = trainer_in(tmp_path, max_steps=2)
    trainer.add_callback(Second())
    trainer.train()
    assert "Another process is training" in found[0].stderr
    with held(tmp_path):
        assert torch.is_tensor(next(iter(trainer.model.parameters())))


def test_command_that_is_stopped_says_so_and_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import jal_hf.cli.tune as tune
    from jal_hf.cli.main import main

    def stopped(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "main", stopped)
    assert main(["tune"]) == 130
    assert "stopped" in capsys.readouterr().err
