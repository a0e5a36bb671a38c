"""A run before it runs: from a recipe, changed, written down, read back, and as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jal_hf import RunConfig, create_loss, create_noise
from jal_hf.cli.flags import config_of_words
from jal_hf.cli.train import recommendation
from jal_hf.ground.record import RunRecord
from jal_hf.losses import JointLoss, Normalized, RobustLoss
from jal_hf.losses.preset_table import DATASET_DECAY
from jal_hf.runs.grid.cells import cell_config, plan_cells
from jal_hf.runs.grid.ledger import GridLedger
from jal_hf.runs.parts import check_config
from jal_hf.runs.recipes import list_recipes, load_recipe
from jal_hf.runs.repeat import config_from
from jal_hf.training.methods import create_method


@pytest.mark.parametrize("recipe", list_recipes())
@pytest.mark.parametrize("fast", [False, True])
def test_config_reads_back_as_it_was_written(recipe: str, fast: bool) -> None:
    config = RunConfig.from_recipe(recipe, fast=fast, seed=3, learning_rate=0.05)
    written = json.loads(json.dumps(config.to_dict()))
    assert RunConfig.from_dict(written) == config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "gce", "loss_args": {"q": 0.5}},
        {"noise": "symmetric:0.2,mode=iid", "seed": 4},
        {"image_mean": [0.1], "bf16": False, "learning_rate": 1e-3, "max_steps": 7},
        {"resume_from_checkpoint": "auto", "output_dir": "a b/c"},
    ],
)
def test_words_of_a_config_make_it_again(changes: dict[str, object]) -> None:
    config = RunConfig.from_recipe("digits", **changes)
    assert config_of_words(config.to_argv()) == config


def test_config_and_command_line_agree() -> None:
    words = ["cifar10", "--loss", "gce", "--noise", "symmetric:0.2", "--seed", "2", "--num_train_epochs", "3"]
    made = RunConfig.from_recipe("cifar10", loss="gce", noise="symmetric:0.2", seed=2, num_train_epochs=3)
    assert config_of_words(words) == made


def test_own_data_without_a_recipe_gets_no_papers_noise(tmp_path: Path) -> None:
    config = RunConfig.from_recipe(dataset=str(tmp_path))
    assert (config.name, config.noise) == ("imagefolder", "none")
    assert config_of_words(["--dataset", str(tmp_path)]).noise == "none"
    assert RunConfig.from_recipe().name == "digits"


def test_a_finished_run_stands_in_the_place_of_a_recipe(tmp_path: Path) -> None:
    """Whoever wanted a run again had to type its settings anew."""
    begun = RunConfig.from_recipe(
        "digits", loss="gce", seed=3, max_steps=7, output_dir=str(tmp_path), overwrite=True
    )
    record = RunRecord(loss={"name": "gce"}, model={"name": "net"}, config=begun.published().to_dict())
    record.write(tmp_path)
    for given in (tmp_path, tmp_path / "run.json"):
        config = config_of_words([str(given), "--learning_rate", "0.5"], or_run=True)
        assert (config.loss, config.seed, config.noise) == ("gce", 3, "symmetric:0.4")
        assert (config.training["max_steps"], config.training["learning_rate"]) == (7, 0.5)
        assert config.output_dir == Path("runs/digits-gce-symmetric-0.4-seed3")
        assert not config.training.get("overwrite")
    with pytest.raises(ValueError, match="--fast and --best are for recipes"):
        config_from(tmp_path, fast=True)
    record.replace(finetune={"rows": 8}, command="jal-hf finetune pictures").write(tmp_path)
    with pytest.raises(ValueError, match="repeat it by its own line: jal-hf finetune pictures"):
        config_from(tmp_path)
    with pytest.raises(ValueError, match="is a folder, not a recipe"):
        config_of_words([str(tmp_path)])


@pytest.mark.parametrize("steps", [0, -2])
def test_no_step_at_all_is_refused(steps: int, tmp_path: Path) -> None:
    """It counted as not set, and trained for the recipe's epochs."""
    with pytest.raises(ValueError, match="max_steps must be at least 1, got"):
        RunConfig.from_recipe("digits", max_steps=steps)
    (tmp_path / "mine.yaml").write_text(f"max_steps: {steps}")
    with pytest.raises(ValueError, match="max_steps must be at least 1, got"):
        RunConfig.from_recipe(tmp_path / "mine.yaml")
    assert RunConfig.from_recipe("digits", max_steps=-1).training["max_steps"] == -1


def test_preset_brings_parameters_and_decay_and_what_is_asked_wins() -> None:
    config = RunConfig.from_recipe("cifar100", loss="jal-ce")
    assert config.loss_args == {"alpha": 5.0, "beta": 1.0, "a": 20.0}
    assert config.training["l1_weight_decay"] == 5e-6
    asked = RunConfig.from_recipe("cifar100", loss="jal-ce", loss_args={"a": 7}, l1_weight_decay=0.0)
    assert asked.loss_args == {"alpha": 5.0, "beta": 1.0, "a": 7}
    assert asked.training["l1_weight_decay"] == 0.0


def test_an_asked_preset_takes_the_place_of_a_recipes_parameters() -> None:
    config = RunConfig.from_recipe("imagefolder", preset="cifar100")
    assert config.loss_args == {"alpha": 5.0, "beta": 1.0, "a": 20.0}
    assert (config.training["weight_decay"], config.training["l1_weight_decay"]) == (0.0, 5e-6)


def test_another_loss_takes_its_own_parameters_and_keeps_an_explicit_decay() -> None:
    config = RunConfig.from_recipe("cifar10", loss="jal-ce", weight_decay=3e-4)
    changed = config.replace(loss="gce")
    assert changed.loss_args == {"q": 0.7}
    assert changed.training["weight_decay"] == 3e-4
    assert config.replace(loss="gce", seed=1) == RunConfig.from_recipe(
        "cifar10", loss="gce", weight_decay=3e-4, seed=1
    )


def test_replace_follows_through_to_noise_seed_and_folder() -> None:
    config = RunConfig.from_recipe("digits")
    changed = config.replace(seed=5, noise="symmetric:0.2")
    assert changed.data.noise_seed == 5
    assert changed.output_dir == Path("runs/digits-jal-ce-symmetric-0.2-seed5")
    assert config.replace(noise_seed=9).replace(seed=5).data.noise_seed == 9


@pytest.mark.parametrize(
    "own",
    [
        "weight_decay: 0.01",
        "l1_weight_decay: 0.002",
        "preset: cifar10",
        "preset: cifar10\nweight_decay: 0.01",
        "noise_seed: 7",
        "noise_seed: 0",
        "output_dir: somewhere",
        "loss_args: {q: 0.5}",
    ],
)
def test_a_changed_run_is_the_one_that_its_recipe_gives_with_the_changes(own: str, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"dataset: digits\nmodel: jal_digits_cnn\nloss: gce\nseed: 0\n{own}\n")
    config = RunConfig.from_recipe(recipe)
    for changes in ({"seed": 1}, {"loss": "ce"}, {"loss": "ce", "seed": 2}, {"preset": "cifar100"}):
        assert config.replace(**changes) == RunConfig.from_recipe(recipe, **changes), changes
    assert config.repeated().data == config.data
    written = json.loads(json.dumps(config.to_dict()))
    assert RunConfig.from_dict(written) == config
    without = RunConfig.from_dict({name: part for name, part in written.items() if name != "stated"})
    assert without.repeated().data == config.data


def test_cells_of_own_data_share_the_decay_of_the_recipe() -> None:
    shared = RunConfig.from_recipe("imagefolder")
    decays = {
        cell_config(shared, cell, "out").training["weight_decay"]
        for cell in plan_cells(["jal-ce", "ce"], ["none"], [0])
    }
    assert decays == {1e-4}


def test_losses_and_noises_may_be_objects() -> None:
    loss = create_loss("agce", a=2.0, q=0.3)
    noise = create_noise("symmetric:0.3", num_classes=10)
    config = RunConfig.from_recipe("digits", loss=loss, noise=noise)
    assert (config.loss, config.loss_args["a"], config.noise) == ("agce", 2.0, "symmetric:0.3")


@pytest.mark.parametrize(
    "loss",
    [JointLoss(create_loss("nce"), create_loss("mae"), 2.0, 3.0), Normalized(create_loss("gce", q=0.3))],
)
def test_a_loss_that_is_put_together_trains_with_the_decay_of_the_recipe(loss: RobustLoss) -> None:
    config = RunConfig.from_recipe("cifar10", loss=loss)
    made = create_loss(config.loss, **config.loss_args)
    assert made.config() == loss.config()
    assert config.training["weight_decay"] == DATASET_DECAY["cifar10"][0]
    assert RunConfig.from_dict(config.to_dict()) == config
    check_config(config)


def test_a_token_is_in_no_form_of_a_config() -> None:
    config = RunConfig.from_recipe("digits", hub_token="hf_secretsecret", push_to_hub=True)
    shown = [json.dumps(config.to_dict()), repr(config), " ".join(config.to_argv()), config.command()]
    shown += [str(config.replace(seed=1)), str(config.published()), str(config.repeated())]
    assert not [text for text in shown if "hf_secretsecret" in text]
    assert config.replace(seed=1).arguments().hub_token == "hf_secretsecret"


def test_a_token_in_a_recipe_file_is_kept_apart(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("dataset: digits\nhub_token: hf_secretsecret\n")
    assert "hf_secretsecret" not in str(load_recipe(str(recipe)))
    config = RunConfig.from_recipe(recipe)
    assert "hf_secretsecret" not in json.dumps(config.to_dict()) + repr(config)
    assert config.arguments().hub_token == "hf_secretsecret"
    GridLedger(tmp_path / "grid").begin(config, plan_cells(["ce"], ["none"], [0]))
    written = [
        path for path in tmp_path.rglob("*") if path.is_file() and "hf_secretsecret" in path.read_text()
    ]
    assert written == [recipe]


def test_a_repeated_run_neither_pushes_nor_overwrites_nor_reports() -> None:
    config = RunConfig.from_recipe(
        "digits", push_to_hub=True, hub_model_id="me/x", overwrite=True, report_to="tensorboard", run_name="x",
        resume="auto", loss="gce",
    )  # fmt: skip
    again = config.repeated(output_dir="elsewhere")
    gone = {"push_to_hub", "hub_model_id", "overwrite", "report_to", "run_name", "resume_from_checkpoint"}
    assert gone.isdisjoint(again.training)
    assert gone.isdisjoint(again.asked)
    assert (again.loss, str(again.output_dir)) == ("gce", "elsewhere")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lerning_rate": 1}, "Did you mean 'learning_rate'"),
        ({"overwrite": "false"}, "overwrite must be true or false, got 'false'"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"num_train_epochs": -1}, "num_train_epochs must be more than 0"),
        ({"gradient_accumulation_steps": 0}, "at least 1"),
        ({"model": 3}, "model must be text"),
        ({"noise": {"a": 1}}, "noise must be text"),
        ({"loss_args": "{"}, "loss_args must be a JSON object"),
        ({"loss_args": "[" * 90_000}, "loss_args must be a JSON object"),
        ({"dataset": "x" * 10_000}, "at most 4,096"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_of_the_wrong_kind_are_refused_by_name(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as raised:
        RunConfig.from_recipe("digits", **changes)
    assert sentence in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_recipe_asks_for_no_more_workers_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert RunConfig.from_recipe("imagefolder").arguments().dataloader_num_workers == 2
    assert (
        RunConfig.from_recipe("imagefolder", dataloader_num_workers=5).arguments().dataloader_num_workers == 5
    )


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("dataset: digits\nmodel: jal_digits_cnn\nlearning_rate: 1e-2\n")
    assert RunConfig.from_recipe(tmp_path / "mine.yaml").training["learning_rate"] == 0.01


def test_what_a_record_holds_is_checked_like_a_recipe() -> None:
    content = RunConfig.from_recipe("digits").to_dict()
    with pytest.raises(ValueError, match="no section 'data'"):
        RunConfig.from_dict({**content, "data": None})
    with pytest.raises(ValueError, match="'evil'"):
        RunConfig.from_dict({**content, "training": {**content["training"], "evil": 1}})
    with pytest.raises(ValueError, match="seed"):
        RunConfig.from_dict({**content, "training": {**content["training"], "seed": "x"}})


def test_best_takes_what_is_recommended_unless_something_else_is_asked_for() -> None:
    best = config_of_words(["cifar10", "--best", "--seed", "1"])
    found = load_recipe("cifar10").recommended()
    assert best == RunConfig.from_recipe("cifar10", seed=1, **found)
    assert (best.loss, best.method) == (found["loss"], found["method"])
    assert config_of_words(["cifar10", "--best", "--method", "elr"]).method == "elr"
    assert config_of_words(best.to_argv()) == best
    said = recommendation(best)
    assert "ema 1.0 to 1.05, gate 1.0, twin 2.0 to 2.1" in said
    assert "noisy validation accuracy" in said
    with pytest.raises(ValueError, match="No loss and method are recommended for recipe 'clothing1m'"):
        config_of_words(["clothing1m", "--best"])


@pytest.mark.parametrize("recipe", [name for name in list_recipes() if load_recipe(name).best])
def test_what_is_recommended_says_why_and_exists(recipe: str) -> None:
    content = load_recipe(recipe)
    assert content.best["why"]
    assert set(content.recommended()) <= {"loss", "method", "method_args"}
    assert create_method(*(content.recommended().get(key) for key in ("method", "method_args"))) is not None
