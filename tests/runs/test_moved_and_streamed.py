"""A run whose folder was moved, a stream given as an object, and commands that are no matter of a launcher."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pytest

import jal_hf
from jal_hf.cli.main import main
from tests.runs.helpers import class_folders
from tests.runs.test_changed_data import QUICK


def test_moved_run_finds_its_own_data_where_its_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = class_folders(tmp_path / "data" / "pictures", rows=10, test=2)
    made = jal_hf.train(dataset=str(pictures), output_dir=tmp_path / "run", **QUICK)
    moved = tmp_path / "moved"
    shutil.move(made.folder, moved)
    elsewhere = tmp_path / "elsewhere"
    class_folders(elsewhere / "pictures", rows=5)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ValueError, match="--trust"):
        jal_hf.audit_run(moved)
    assert len(jal_hf.audit_run(moved, trust=True).issues.index) == 30


def test_stream_given_as_an_object_is_trained_on_as_one(tmp_path: Path) -> None:
    pictures = class_folders(tmp_path / "pictures", rows=10, test=4)
    folder = datasets.load_dataset("imagefolder", data_dir=str(pictures))
    quick = {name: value for name, value in QUICK.items() if name != "num_train_epochs"}
    stream = {"train": folder["train"].to_iterable_dataset(), "test": folder["test"].to_iterable_dataset()}
    with pytest.raises(ValueError, match="Give max_steps"):
        jal_hf.train(data=stream, output_dir=tmp_path / "a", num_train_epochs=2, **quick)
    assert not (tmp_path / "a").exists()
    made = jal_hf.train(data=stream, output_dir=tmp_path / "a", max_steps=2, **quick)
    assert made.record.dataset["rows"] is None
    trainer = jal_hf.JALTrainer.from_recipe(
        "imagefolder", train_dataset=stream["train"], output_dir=tmp_path / "b", max_steps=2, **quick
    )
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("rank", ["0", "1"])
def test_command_of_one_process_is_refused_under_a_launcher(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert main(["compare", "digits", "--losses", "ce"]) == 2
    assert ("without the launcher" in capsys.readouterr().err) == (rank == "0")
    assert main(["losses", "ce"]) == 0
    monkeypatch.delenv("LOCAL_RANK")
    assert main(["compare", "digits", "--losses", "nothing"]) == 2
    assert "no loss named" in capsys.readouterr().err


def test_rank_that_a_jobs_script_says_of_a_single_process_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    words = ["train", "digits", "--max_train_samples", "64", "--max_eval_samples", "32", "--resume", "auto"]
    words += ["--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "9"]
    words += ["--output_dir", str(tmp_path / "run")]
    assert main([*words, "--max_steps", "2"]) == 0
    begun = (tmp_path / "run" / "checkpoint-1" / "complete.json").stat().st_mtime_ns
    assert main([*words, "--max_steps", "3"]) == 0
    assert (tmp_path / "run" / "checkpoint-3").is_dir()
    # Written once: the second line went on, instead of beginning again over the checkpoints of the first.
    assert (tmp_path / "run" / "checkpoint-1" / "complete.json").stat().st_mtime_ns == begun
    capsys.readouterr()
    assert main([*words, "--max_steps", "3"]) == 0
    assert "everything is in" in capsys.readouterr().out
