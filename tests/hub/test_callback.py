"""The callback with a bare JALTrainer: every strategy, a model of transformers, a push on request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jal_hf.ground.record import RunRecord
from tests.hub.conftest import run_client
from tests.hub.local_hub import TOKEN, LocalHub, check_card

_DRIVER = """
    import json, shutil, time, torch
    from pathlib import Path
    from transformers import ResNetConfig, ResNetForImageClassification
    from jal_hf import JALTrainer, JALTrainingArguments, create_loss, create_model

    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.05))
    rows = [{"pixel_values": torch.randn(1, 8, 8), "labels": number % 3, "index": number} for number in range(24)]
    told = {}

    def train(name, model, **options):
        options = {"push_to_hub": True, "hub_always_push": True, "save_total_limit": 1, **options}
        args = JALTrainingArguments(
            output_dir=str(Path(name).resolve()), hub_model_id=f"tester/{name}", max_steps=2,
            save_strategy="steps", save_steps=1, eval_strategy="steps", eval_steps=1,
            per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True,
            metric_for_best_model="accuracy", **options)
        loss = create_loss("agce", a=2.0)
        trainer = JALTrainer(model=model, args=args, train_dataset=rows, eval_dataset=rows, loss=loss)
        trainer.train()
        told[name] = {"strategy": str(args.hub_strategy.value), "address": trainer.push_to_hub("All done")}

    def network():
        return create_model("jal_digits_cnn", num_labels=3, class_names=["a", "b", "c"], mean=0.3, std=0.4)

    train("checkpoint", network(), hub_strategy="checkpoint")
    train("all", network(), hub_strategy="all_checkpoints")
    train("end", network(), hub_strategy="end")
    train("later", network(), push_to_hub=False)
    shutil.copytree("later", "again")
    Path("again/checkpoint-2").rename("again/checkpoint-9")  # of an earlier training
    train("again", network(), hub_strategy="all_checkpoints", save_total_limit=None)
    for row in rows:
        row["pixel_values"] = torch.randn(3, 8, 8)
    config = ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8, num_labels=3, layer_type="basic")
    train("transformers", ResNetForImageClassification(config), hub_strategy="every_save")
    Path("told.json").write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalHub, Path]]:
    folder = tmp_path_factory.mktemp("trained")
    with LocalHub() as hub:
        done = run_client(hub, folder, _DRIVER)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
        assert TOKEN not in done.stdout + done.stderr
        yield hub, folder


@pytest.mark.parametrize("name", ["checkpoint", "all", "end", "later", "again", "transformers"])
def test_every_commit_carries_card_record_and_model(trained: tuple[LocalHub, Path], name: str) -> None:
    hub, folder = trained
    commits = hub.repository(f"tester/{name}").commits[1:]
    assert len(commits) == (1 if name in ("end", "later") else 3)
    for commit in commits:
        assert {"README.md", "run.json", "config.json", "model.safetensors"} <= set(commit.files)
        assert "training_args.bin" not in " ".join(commit.files)
        card = commit.files["README.md"].content.decode()
        assert check_card(card) == []
        assert "`agce`" in card
        assert "`a=2`" in card, "the parameters of the loss object, not those of the arguments"
    assert commits[-1].title == "All done"
    record = json.loads(hub.files(f"tester/{name}")["run.json"])
    assert record["metrics"]["last"]["accuracy"] is not None
    assert record["training"]["steps"] == 2
    assert RunRecord.read(folder / name).finished, "the end of training leaves a whole run's folder"
    assert (folder / name / "README.md").is_file()


@pytest.mark.parametrize("name", ["checkpoint", "all", "end", "later", "again", "transformers"])
def test_no_commit_knows_the_machine_that_it_came_from(trained: tuple[LocalHub, Path], name: str) -> None:
    hub, folder = trained
    for commit in hub.repository(f"tester/{name}").commits[1:]:
        private = (".jal_hf", "training_args", "rng_state", "begun.json", "complete.json", "logs/")
        assert not [file for file in commit.files if any(word in file for word in private)]
        assert not [file for file, blob in commit.files.items() if str(folder).encode() in blob.content]


def test_optimizer_state_is_sent_for_all_checkpoints_alone(trained: tuple[LocalHub, Path]) -> None:
    hub, _ = trained
    last = set(hub.files("tester/checkpoint"))
    assert {"last-checkpoint/model.safetensors", "last-checkpoint/trainer_state.json"} <= last
    assert not [name for name in last if name.endswith((".pt", ".pth", ".bin"))]
    every = set(hub.files("tester/all"))
    assert {
        f"checkpoint-{step}/{name}" for step in (1, 2) for name in ("model.safetensors", "optimizer.pt")
    } <= every
    assert not [name for name in every if name.endswith((".pth", ".bin"))]


def test_pushes_send_the_checkpoint_just_saved_when_a_higher_one_lies_beside_it(
    trained: tuple[LocalHub, Path],
) -> None:
    hub, _ = trained
    first, second, _ = (commit.files for commit in hub.repository("tester/again").commits[1:])
    for step, files in ((1, first), (2, second)):
        saved = files[f"checkpoint-{step}/model.safetensors"].content
        assert files["model.safetensors"].content == saved
    assert not [name for name in second if name.startswith("checkpoint-9/")]


def test_strategy_is_handed_back_and_no_copy_is_left(trained: tuple[LocalHub, Path]) -> None:
    _, folder = trained
    told = json.loads((folder / "told.json").read_text())
    assert told["all"]["strategy"] == "all_checkpoints"
    assert "/commit/" in told["later"]["address"]
    assert not list(folder.glob("*/.push-*"))
