"""Checkpoints are whole or don't count, and old ones go only after the new one is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    SwinConfig,
    SwinForImageClassification,
)

import jal_hf.training.checkpoints as checkpoints
from jal_hf import JALTrainer, JALTrainingArguments
from jal_hf.runs.folder import clear_the_way, find_start
from jal_hf.training.checkpoint_weights import converted_weights
from jal_hf.training.checkpoints import (
    checkpoint_folders,
    is_complete,
    last_complete_checkpoint,
    mark_complete,
)
from jal_hf.training.failures import RunError
from jal_hf.training.trainer import RobustTrainer
from tests.faults.helpers import assert_resumes_to, trainer_in, weights_after
from tests.training.helpers import CLASSES, SIZE, Examples, timm_model, vit_model

_TINY = {"num_labels": CLASSES, "image_size": SIZE}
RENAMED: dict[str, Any] = {
    "vit": vit_model,
    "dinov2": lambda: Dinov2ForImageClassification(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, patch_size=8, **_TINY)
    ),
    "swin": lambda: SwinForImageClassification(
        SwinConfig(embed_dim=8, depths=[1], num_heads=[2], window_size=4, patch_size=2, **_TINY)
    ),
}
"""Networks that transformers saves under other names than their own."""


def test_checkpoint_counts_only_with_all_its_files_in_full(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"12345")
    assert not is_complete(checkpoint)
    mark_complete(checkpoint)
    assert is_complete(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"123")
    assert not is_complete(checkpoint)


def test_checkpoints_are_ordered_by_number_and_not_by_name(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "file").write_text("x")
        mark_complete(tmp_path / f"checkpoint-{step}")
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_resume_removes_a_checkpoint_cut_off_in_its_middle_and_goes_on_from_the_one_before(
    tmp_path: Path,
) -> None:
    expected = weights_after(tmp_path / "whole")
    folder = tmp_path / "cut"
    trainer_in(folder, max_steps=12).train()
    (folder / "checkpoint-12" / "complete.json").unlink()
    (folder / "checkpoint-12" / "trainer_state.json").unlink()
    assert find_start(folder, overwrite=False, resume="auto") == str(folder / "checkpoint-8")
    clear_the_way(folder, overwrite=False, resume="auto")
    assert not (folder / "checkpoint-12").exists()
    assert_resumes_to(folder, expected)


def test_old_checkpoint_stays_until_the_new_one_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(checkpoint: Path) -> None:
        if checkpoint.name == "checkpoint-8":
            raise KeyboardInterrupt
        mark_complete(checkpoint)

    monkeypatch.setattr(checkpoints, "mark_complete", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer_in(tmp_path, save_total_limit=1).train()
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-4"


@pytest.mark.parametrize(("limit", "kept"), [(1, ["checkpoint-20"]), (2, ["checkpoint-16", "checkpoint-20"])])
def test_save_total_limit_keeps_the_newest(limit: int, kept: list[str], tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, save_total_limit=limit)
    trainer.train()
    assert [path.name for path in checkpoint_folders(tmp_path)] == kept
    assert trainer.args.save_total_limit == limit


def test_save_total_limit_keeps_the_best_one_too(tmp_path: Path) -> None:
    best: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "metric_for_best_model": "accuracy",
        "load_best_model_at_end": True,
    }
    trainer = trainer_in(tmp_path, save_total_limit=1, **best)
    trainer.train()
    names = {path.name for path in checkpoint_folders(tmp_path)}
    assert names == {Path(str(trainer.state.best_model_checkpoint)).name, "checkpoint-20"}


def test_resume_after_the_last_step_trains_no_further(tmp_path: Path) -> None:
    # The parent trains one step more when a run of max_steps ends within an epoch.
    expected = weights_after(tmp_path)
    assert_resumes_to(tmp_path, expected)


@pytest.mark.parametrize("method", ["plain", "ema"])
def test_best_checkpoint_is_found_again_in_a_folder_that_was_moved(method: str, tmp_path: Path) -> None:
    best: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "metric_for_best_model": "loss",
        "greater_is_better": True,  # the first of them, which the last weights are not
        "load_best_model_at_end": True,
        "method": method,
    }
    expected = weights_after(tmp_path / "run", **best)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert_resumes_to(tmp_path / "moved", expected, **best)


def test_log_repeats_no_step_after_a_resume(tmp_path: Path) -> None:
    changes = {"eval_strategy": "steps", "eval_steps": 4, "logging_steps": 2}
    trainer_in(tmp_path, max_steps=12, **changes).train()
    trainer = trainer_in(tmp_path, **changes)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    from jal_hf.ground.run_log import read_log

    lines = [(line["step"], "eval_loss" in line, "train_runtime" in line) for line in read_log(tmp_path)]
    assert len(lines) == len(set(lines))
    assert [step for step, evaluated, closing in lines if not evaluated and not closing] == list(
        range(2, 21, 2)
    )
    assert [step for step, evaluated, _ in lines if evaluated] == [4, 8, 12, 16, 20]


@pytest.mark.parametrize("network", RENAMED)
def test_resume_and_best_model_load_networks_that_are_saved_under_other_names(
    network: str, tmp_path: Path
) -> None:
    # The stock Trainer leaves the encoder as it is, with a warning.
    def trained(folder: Path, resume: str | None = None, **changes: Any) -> JALTrainer:
        torch.manual_seed(0)
        args = JALTrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=4, learning_rate=0.05, use_cpu=True,
            save_strategy="steps", save_steps=1, precision="fp32", disable_tqdm=True, **{"max_steps": 3, **changes},
        )  # fmt: skip
        trainer = JALTrainer(
            model=RENAMED[network](), args=args, train_dataset=Examples(12), eval_dataset=Examples(8, seed=1)
        )
        # Without its folder's plots and card: the checkpoints are what is looked at.
        RobustTrainer.train(trainer, resume_from_checkpoint=resume)
        return trainer

    whole = trained(tmp_path)
    saved = load_file(tmp_path / "checkpoint-1" / "model.safetensors")
    assert saved.keys() != whole.model.state_dict().keys()
    AutoModelForImageClassification.from_pretrained(tmp_path / "checkpoint-1")
    resumed = trained(tmp_path, str(tmp_path / "checkpoint-1"))
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())

    best = trained(
        tmp_path / "best", eval_strategy="steps", eval_steps=1, load_best_model_at_end=True,
        metric_for_best_model="loss", greater_is_better=True,
    )  # fmt: skip
    assert best.evaluate()["eval_loss"] == pytest.approx(best.state.best_metric, rel=1e-6)


def test_a_network_of_timm_translates_names_by_itself(tmp_path: Path) -> None:
    model: Any = timm_model()
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() != model.state_dict().keys()
    assert converted_weights(model, tmp_path) is None


def test_a_checkpoint_of_another_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    trainer_in(tmp_path, max_steps=4).train()
    path = tmp_path / "checkpoint-4" / "model.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    save_file({f"{key}_old" if key == name else key: value for key, value in weights.items()}, path)
    with pytest.raises(RunError, match="those of another network: it lacks 1 of"):
        RobustTrainer.train(trainer_in(tmp_path), resume_from_checkpoint=str(path.parent))


class Tied(nn.Module):
    """Two layers of one weight, which is saved once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3 * SIZE, CLASSES), nn.Linear(3 * SIZE, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        rows = pixel_values.mean(dim=-1).flatten(1)
        return {"logits": self.first(rows) + self.second(rows)}


def test_a_plain_network_with_tied_weights_resumes(tmp_path: Path) -> None:
    def trained(resume: str | None = None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        args = JALTrainingArguments(
            output_dir=str(tmp_path), max_steps=2, save_strategy="steps", save_steps=1, use_cpu=True,
            precision="fp32", disable_tqdm=True,
        )  # fmt: skip
        trainer = RobustTrainer(model=Tied(), args=args, train_dataset=Examples(12))
        trainer.train(resume_from_checkpoint=resume)
        return {name: value.clone() for name, value in trainer.model.state_dict().items()}

    whole, resumed = trained(), trained(str(tmp_path / "checkpoint-1"))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())
