"""The audit of a real, short run on digits: files, figures, folds, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from jal_hf.analysis.folds import cross_validated_probabilities
from jal_hf.analysis.predictions import example_losses
from jal_hf.cli.main import main
from jal_hf.cli.old_records import config_of_command
from jal_hf.ground.record import RunRecord
from jal_hf.losses import create_loss
from jal_hf.runs.audit.audit import audit_run

TRAIN = ["train", "digits", "--num_train_epochs", "6", "--disable_tqdm", "true"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits run"
    assert main([*TRAIN, "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches on several threads spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_audit_writes_table_page_and_summary(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run), "--top", "100"]) == 0
    printed = capsys.readouterr().out
    folder = run / "audit"
    table = pq.read_table(folder / "label_issues.parquet").to_pydict()
    summary = json.loads((folder / "summary.json").read_text())
    record = RunRecord.read(run)
    assert len(table["rank"]) == record["noise"]["rows"] == summary["rows"]
    wrong = np.array(table["given_label"]) != np.array(table["clean_label"])
    assert wrong.mean() == pytest.approx(record["noise"]["realised_rate"], abs=1e-9)
    assert summary["realised_rate"] == pytest.approx(wrong.mean())
    assert summary["scores"]["model"]["auroc"] > 0.97
    assert abs(summary["estimates"]["predictions"]["rate"] - wrong.mean()) < 0.04
    assert f"{summary['scores']['model']['auroc']:.4f}" in printed
    assert "The 100 least believed of" in (folder / "report.html").read_text()
    assert (folder / "plots" / "transition_matrix.png").is_file()


def test_audit_loss_column_is_the_runs_own_loss(run: Path) -> None:
    issues = audit_run(run).issues
    loss = RunRecord.read(run)["loss"]
    criterion = create_loss(loss["name"], **loss["params"])
    # AMSE lies on a floor of (a - 1)^2 / K, far above any cross entropy.
    assert issues.loss.min() >= criterion.floor(10) > 80.0
    # Of a row that is known by heart float32 gives the floor itself.
    assert issues.loss[issues.self_confidence < 0.999].min() > criterion.floor(10)
    assert np.corrcoef(issues.loss, -issues.self_confidence)[0, 1] > 0.9


def test_audit_with_folds_judges_by_models_that_never_saw_the_row(run: Path) -> None:
    pytest.importorskip("cleanlab")
    audit = audit_run(run, folds=2)
    assert audit.summary["judged_by"] == "2-fold cross-validation"
    assert set(audit.summary["scores"]) == {"model", "folds", "confident_learning"}
    for scores in audit.summary["scores"].values():
        assert scores["auroc"] > 0.9
    learned = audit.summary["estimates"]["confident_learning"]["rate"]
    assert abs(learned - audit.summary["realised_rate"]) < 0.08
    assert not (run / "audit" / "folds").exists()


def test_audit_refuses_labels_the_run_was_not_trained_on(run: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(run, changed)
    record = RunRecord.read(changed)
    record.replace(noise={**record.noise, "labels_sha256": "0" * 64}).write(changed)
    with pytest.raises(ValueError, match="not those that the run was trained on"):
        audit_run(changed)
    assert audit_run(changed, dataset="digits").summary["warnings"] == [
        "The labels are not those that the run was trained on."
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-folder"], "holds no finished run"),
        (["RUN", "--folds", "1"], "give 0 to judge by the run's own model"),
        (["RUN", "--folds", "1000"], "there must be at least 2 and at most"),
        (["RUN", "--top", "0"], "list at least one row"),
    ],
)
def test_audit_answers_bad_input_with_a_sentence(
    run: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *[str(run) if word == "RUN" else word for word in arguments]]) == 2
    assert sentence in capsys.readouterr().err


OLD_RECORD = {"loss": {"name": "ce", "params": {}, "l1_weight_decay": 0.0}, "model": {"name": "net"}}


def old_record(command: str) -> RunRecord:
    return RunRecord.from_dict(
        {"schema": 1, **OLD_RECORD, "command": command, "training": {"weight_decay": 0.007}}
    )


def test_config_of_an_old_command_drops_what_steered_the_first_run() -> None:
    steering = (
        "--overwrite --resume auto --push_to_hub true --output_dir 'a b' --hub-token hf_x --hub-model-id=me/x"
    )
    config = config_of_command(old_record(f"jal-hf train digits {steering} --seed 3 --loss ce"))
    assert config.output_dir != Path("a b")
    assert {"overwrite", "push_to_hub", "hub_model_id", "resume_from_checkpoint"}.isdisjoint(config.training)
    assert not config.secrets
    assert (config.seed, config.loss) == (3, "ce")
    assert config.replace(noise="symmetric:0.2").noise == "symmetric:0.2"
    assert config.training["weight_decay"] == 0.007, "the decay that was recorded, not today's preset"


def test_config_of_an_old_command_says_when_there_is_none() -> None:
    with pytest.raises(ValueError, match="keeps no `jal-hf train` command"):
        config_of_command(old_record(""))


def test_folds_never_judge_a_row_they_were_trained_on() -> None:
    labels = np.repeat(np.arange(3), 20)

    def train(training_rows: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        assert not set(training_rows) & set(held_out)
        assert len(training_rows) + len(held_out) == labels.size
        return np.repeat(held_out[:, None], 3, axis=1).astype(np.float64)

    judged = cross_validated_probabilities(labels, 4, 0, train)
    assert judged[:, 0].tolist() == list(range(60))


def test_example_losses_equal_the_loss_of_each_row_alone() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 4))
    labels = np.array([0, 1, 2, 3, 0, 1, 2])
    values = example_losses(create_loss("jal-ce", reduction="none"), logits, labels, rows_at_once=3)
    alone = create_loss("jal-ce")
    for row, value in enumerate(values):
        expected = alone(torch.from_numpy(logits[row : row + 1]), torch.from_numpy(labels[row : row + 1]))
        assert value == pytest.approx(float(expected), abs=1e-9)
