"""What a grid is made of, and what is refused before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jal_hf.cli.compare import main
from jal_hf.cli.flags import config_of_words
from jal_hf.cli.lists import split_losses, split_methods, split_noises, split_seeds
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import Cell, cell_config, check_grid, plan_cells
from jal_hf.runs.grid.ledger import GridLedger


def test_noises_keep_the_commas_of_their_options() -> None:
    text = "symmetric:0.4,mode=iid,asymmetric:0.3,classes=cifar10,mode=exact,none"
    assert split_noises(text) == [
        "symmetric:0.4,mode=iid",
        "asymmetric:0.3,classes=cifar10,mode=exact",
        "none",
    ]


@pytest.mark.parametrize(
    ("split", "text", "message"),
    [
        (split_noises, "symetric:0.4", "symmetric"),
        (split_noises, "symmetric:0.4,,none", "comma-separated"),
        (split_losses, "ce,gce,CE", "'ce' stands twice"),
        (split_methods, "ema+twin,twin+ema", "'ema\\+twin' stands twice"),
        (split_seeds, "0,one", "whole numbers"),
        (split_seeds, "0,-1", "whole numbers"),
    ],
)
def test_lists_refuse_what_cannot_be_meant(split: object, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(text)  # type: ignore[operator]


def test_cells_come_seed_by_seed_with_the_same_data_together() -> None:
    cells = plan_cells(["ce", "gce"], ["none", "symmetric:0.4"], [0, 1])
    assert cells[:3] == [Cell("ce", "none", 0), Cell("gce", "none", 0), Cell("ce", "symmetric:0.4", 0)]
    assert {cell.seed for cell in cells[:4]} == {0}


@pytest.mark.parametrize(
    "same",
    [
        ["symmetric:0.4", "symmetric:.40"],
        ["symmetric:0.4,mode=iid,include_true=true", "symmetric: 4e-1,include_true=true,mode=iid"],
        ["symmetric:0.4", "symmetric:0.4,mode=exact"],
    ],
)
def test_a_noise_in_two_spellings_is_one_column(same: list[str]) -> None:
    with pytest.raises(ValueError, match="are the same; give one of them"):
        plan_cells(["ce"], split_noises(",".join(same)), [0])
    assert len(plan_cells(["ce"], [same[0], "symmetric:0.45"], [0])) == 2


def test_cell_folders_are_safe_names_and_differ() -> None:
    assert Cell("nce+rce", "human:/data/cifar10n.parquet#worse_label", 2).folder == (
        "nce+rce-human-cifar10n.parquet-worse_label-seed2"
    )
    with pytest.raises(ValueError, match="share the folder"):
        plan_cells(["ce"], ["labels:a/x.parquet#l", "labels:b/x.parquet#l"], [0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "ce"], "use --losses"),
        (["--output_dir", "x"], "use --out"),
        (["--overwrite", "true"], "another --out"),
        (["--hub_model_id", "me/model"], "named after its folder"),
        (["--loss_args", '{"beta": 3}'], "beta"),
        (["--preset", "cifar11"], "cifar10"),
        (["--method_args", '{"ema": {"decay": 0.9}}'], "parameters of 'ema', and the grid trains plain"),
        (["--method_args", '{"decay": 0.9}'], "decay"),
    ],
)
def test_grid_refuses_flags_that_cannot_hold_for_all_cells(arguments: list[str], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        check_grid(config_of_words(["digits", *arguments]), [Cell("gce", "none", 0)], "out")


def test_grid_refuses_a_loss_that_a_method_cannot_train_before_any_cell_is_trained() -> None:
    cells = [Cell("ce", "none", 0, "mixup"), Cell("nlnl", "none", 0), Cell("nlnl", "none", 0, "mixup")]
    check_grid(config_of_words(["digits"]), cells[:2], "out")
    with pytest.raises(ValueError, match="nlnl takes no class probabilities"):
        check_grid(config_of_words(["digits"]), cells, "out")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--losses", "ce", "--best"], "--losses and the method in --methods"),
        (["--losses", "jal-cee"], "jal-ce"),
        (["--losses", "ce", "--noises", "symmetrical:0.4"], "symmetric"),
        (["--losses", "ce", "--sede", "3"], "--seed"),
        (["--losses", "ce", "--jobs", "0"], "at least 1"),
        ([], "--losses"),
    ],
)
def test_compare_refuses_bad_words_before_it_makes_a_folder(
    flags: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        main(["digits", *flags, "--out", str(tmp_path / "grid")])
    assert not (tmp_path / "grid").exists()


def test_grid_folder_refuses_other_settings_but_takes_more_cells(tmp_path: Path) -> None:
    ledger = GridLedger(tmp_path)
    digits = RunConfig.from_recipe("digits", num_train_epochs=2)
    ledger.begin(digits, [Cell("ce", "none", 0)])
    ledger.begin(digits.replace(disable_tqdm=True), [Cell("gce", "none", 5)])
    with pytest.raises(ValueError, match=r"num_train_epochs 2.* now it is 3"):
        ledger.begin(digits.replace(num_train_epochs=3), [])
    with pytest.raises(ValueError, match="'digits', and now it is 'mnist'"):
        ledger.begin(RunConfig.from_recipe("mnist", num_train_epochs=2), [])


def test_grid_folder_refuses_a_recipe_that_has_changed(tmp_path: Path) -> None:
    recipe, ledger = tmp_path / "mine.yaml", GridLedger(tmp_path / "grid")
    recipe.write_text("{dataset: digits, model: jal_digits_cnn, num_train_epochs: 1}")
    ledger.begin(RunConfig.from_recipe(recipe), [Cell("ce", "none", 0)])
    ledger.begin(RunConfig.from_recipe(recipe), [Cell("gce", "none", 0)])
    recipe.write_text("{dataset: digits, model: jal_digits_cnn, num_train_epochs: 2}")
    with pytest.raises(ValueError, match=r"the recipe's num_train_epochs 1, and now it is 2"):
        ledger.begin(RunConfig.from_recipe(recipe), [Cell("gce", "none", 0)])


def test_row_of_the_loss_alone_is_trained_without_the_method_of_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("{dataset: digits, model: jal_digits_cnn, method: ema, method_args: {decay: 0.9}}")
    shared = RunConfig.from_recipe(recipe)
    methods = [cell_config(shared, Cell("ce", "none", 0, name), "out").method for name in ("plain", "ema")]
    assert methods == ["plain", "ema"]
    kept = cell_config(shared, Cell("ce", "none", 0, "ema"), "out").training["method_args"]
    assert kept == {"decay": 0.9}


def test_rows_keep_their_order_when_a_later_command_names_only_some(tmp_path: Path) -> None:
    def order(*losses: str) -> list[str]:
        cells = [Cell(loss, "none", 0) for loss in losses]
        GridLedger(tmp_path).begin(RunConfig.from_recipe("digits"), cells)
        return GridLedger(tmp_path).order(cells)["losses"]

    assert order("ce", "gce", "jal-ce") == ["ce", "gce", "jal-ce"]
    assert order("jal-ce", "gce") == ["ce", "gce", "jal-ce"]
    assert order("mae", "ce") == ["ce", "gce", "jal-ce", "mae"]
    assert order("mae", "jal-ce", "gce", "ce") == ["mae", "jal-ce", "gce", "ce"]


def test_methods_in_another_order_are_the_same_cell_also_of_a_grid_that_was_begun(tmp_path: Path) -> None:
    assert split_methods("plain,Twin+ema") == ["plain", "ema+twin"]
    cells, ledger = plan_cells(["ce"], ["none"], [0], ["twin+ema"]), GridLedger(tmp_path)
    assert cells == [Cell("ce", "none", 0, "ema+twin")]
    ledger.begin(RunConfig.from_recipe("digits"), [Cell("ce", "none", 0, "twin+ema")])
    line = {
        "loss": "ce",
        "noise": "none",
        "seed": 0,
        "method": "twin+ema",
        "folder": "ce-twin+ema-none-seed0",
    }
    (tmp_path / "results.jsonl").write_text(f"{json.dumps(line)}\n")
    ledger.begin(RunConfig.from_recipe("digits"), cells)
    assert ledger.finished() == {*cells}
    assert ledger.order(cells)["losses"] == ["ce ema+twin"]
    assert [(one["method"], one["folder"]) for one in ledger.results()] == [("ema+twin", line["folder"])]


def test_recipe_that_names_its_methods_in_another_order_keeps_their_parameters(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "{dataset: digits, model: jal_digits_cnn, method: twin+ema, method_args: {ema: {decay: 0.9}}}"
    )
    shared = RunConfig.from_recipe(recipe)
    (cell,) = plan_cells(["ce"], ["none"], [0], split_methods(shared.method))
    assert cell_config(shared, cell, "out").training["method_args"] == {"ema": {"decay": 0.9}}
