"""A run with a method from the command line: its folder, its words, its audit, its place in a grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, pipeline

import jal_hf
from jal_hf.cli.main import main
from jal_hf.ground.record import RunRecord
from jal_hf.hub.comparison import comparison_rows
from jal_hf.models import create_model
from jal_hf.runs.config import RunConfig
from jal_hf.runs.grid.cells import cell_config, check_grid, plan_cells
from jal_hf.training.methods import create_method, list_methods, method_info
from jal_hf.training.methods.checkpointing import STATE_FILE
from tests.training.test_captured import both


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of digits with three methods."""
    folder = tmp_path_factory.mktemp("run") / "out"
    words = [
        "--method",
        "ema+twin+gate",
        "--method_args",
        '{"ema": {"decay": 0.9}}',
        "--max_train_samples",
        "300",
    ]
    assert main(["train", "digits", *words, "--num_train_epochs", "2", "--output_dir", str(folder)]) == 0
    return folder


def test_exported_weights_are_the_average_and_load_in_four_ways(run: Path) -> None:
    checkpoint = max(run.glob("checkpoint-*"))
    mean = {
        name: tensor for name, tensor in load_file(checkpoint / STATE_FILE).items() if name.startswith("ema.")
    }
    exported, raw = load_file(run / "model.safetensors"), load_file(checkpoint / "model.safetensors")
    for name, tensor in exported.items():
        average = next(value for key, value in mean.items() if key.endswith(f".{name}"))
        assert torch.equal(tensor, average)
    assert any(not torch.equal(tensor, raw[name]) for name, tensor in exported.items())
    pixels = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first = AutoModelForImageClassification.from_pretrained(run).eval()(pixels).logits
        assert torch.equal(timm.create_model(f"local-dir:{run}", pretrained=True).eval()(pixels), first)
        assert torch.equal(create_model(str(run), num_labels=10).eval()(pixels).logits, first)
        assert torch.equal(pipeline("image-classification", model=str(run)).model(pixels).logits, first)


def test_record_and_card_name_the_method(run: Path) -> None:
    record = RunRecord.read(run)
    assert record.method["name"] == "ema+gate+twin"
    assert record.method["params"]["ema"] == {"decay": 0.9}
    assert set(record.method["formulas"]) == {"ema", "gate", "twin"}
    assert record.title.startswith("jal-ce ema+gate+twin on digits")
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "## The training method" in card
    assert "`decay=0.9`" in card
    assert (
        create_method(record.method["name"], record.method["params"]).config()["params"]
        == record.method["params"]
    )


def test_audit_judges_by_the_exported_weights(run: Path) -> None:
    audit = jal_hf.audit_run(run)
    assert len(audit.issues) == 300
    assert audit.summary["scores"]["model"]["auroc"] > 0.5


def test_methods_command_lists_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    table = capsys.readouterr().out.partition("\n\n")[0]
    rows = [line.split()[0] for line in table.splitlines()[1:] if not line.startswith(" ")]
    assert rows == list_methods()
    for name in list_methods():
        assert main(["methods", name]) == 0
        shown = capsys.readouterr().out
        assert "formula" in shown
        assert "defaults" in shown
        caution = method_info(name).caution
        assert ("plain,NAME" in shown) == bool(caution)
        assert " ".join(caution.split()) in " ".join(shown.split())
    assert main(["methods", "elrr"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "mixup+gate"],
        ["--method", "elr", "--method_args", '{"lambada": 1}'],
        ["--method", "nothing"],
        ["--method", "refurbish", "--streaming", "true"],
        ["--method", "ema+elr", "--method_args", '{"elr": {"targets": "rows"}}', "--streaming", "true"],
    ],
)
def test_train_refuses_a_method_that_cannot_be_before_it_loads_data(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits", *words, "--output_dir", str(tmp_path / "out")]) == 2
    assert "ethod" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_config_takes_a_method_as_an_object_and_says_it_in_words() -> None:
    config = RunConfig.from_recipe("digits", method=create_method("elr+ema", {"elr": {"lambda": 2.0}}))
    assert config.method == "ema+elr"
    assert config.training["method_args"]["elr"]["lambda"] == 2.0
    assert "--method" in config.to_argv()
    assert RunConfig.from_dict(config.to_dict()) == config
    assert config.replace(method="mixup").training.get("method_args") is None


def test_grid_gives_each_cell_the_parameters_of_its_methods(tmp_path: Path) -> None:
    shared = RunConfig.from_recipe("digits", method_args={"elr": {"lambda": 1}, "ema": {"decay": 0.5}})
    cells = plan_cells(["ce"], ["symmetric:0.4"], [0], ["plain", "elr", "elr+ema"])
    assert check_grid(shared, cells, tmp_path).method == "plain"
    given = [cell_config(shared, cell, tmp_path).training["method_args"] for cell in cells]
    assert given == [{}, {"elr": {"lambda": 1}}, {"elr": {"lambda": 1}, "ema": {"decay": 0.5}}]


def test_comparison_keeps_methods_apart() -> None:
    lines = [{"loss": "ce", "accuracy": 0.5}, {"loss": "ce", "method": "twin", "accuracy": 0.9}]
    assert [(row["loss"], row["mean"]) for row in comparison_rows(lines)] == [("ce twin", 0.9), ("ce", 0.5)]


def test_averaged_weights_of_captured_steps_are_those_of_eager_ones(tmp_path: Path) -> None:
    captured, eager = both(tmp_path, method="ema")
    for name, tensor in eager.method.state_dict().items():
        assert torch.equal(captured.method.state_dict()[name], tensor)
