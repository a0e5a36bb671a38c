"""From an audit to a corrected dataset: class folders, tables and saved datasets, by rule and by decision."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import jal_hf
from jal_hf.analysis.judgement import find_suspects, implied_accuracy, judge_labels
from jal_hf.cli.main import main
from jal_hf.data import NoisyDatasetDict
from jal_hf.models import freeze_batch_norm
from jal_hf.runs.audit.audit import audit_run
from jal_hf.runs.audit.cleaning import DROPPED, KEEP, Cleaning, clean_labels, read_decisions
from jal_hf.runs.audit.export import export_cleaned
from jal_hf.runs.audit.run_data import RunData
from jal_hf.training.trainer import RobustTrainer
from tests.runs.helpers import COLOURS, class_folders, save_colour

FLAGS = [
    "--image_size",
    "16",
    "--augment",
    "none",
    "--num_train_epochs",
    "8",
    "--per_device_train_batch_size",
    "16",
]
FLAGS += [
    "--dataloader_num_workers",
    "0",
    "--precision",
    "fp32",
    "--model",
    "jal_cnn8",
    "--learning_rate",
    "0.01",
]
FLAGS += ["--val_fraction", "0.1", "--eval_strategy", "no", "--save_strategy", "no"]


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Class folders in which 6 of 30 pictures of each colour lie in a wrong folder, and a run on them."""
    root = tmp_path_factory.mktemp("dirty")
    folder = class_folders(root / "pictures", rows=30, wrong=6, test=3)
    assert main(["train", "--dataset", str(folder), *FLAGS, "--output_dir", str(root / "run")]) == 0
    return folder, root / "run"


def changes(folder: Path) -> list[dict[str, str]]:
    with (folder / "changes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def right_shares(data: Any) -> float:
    names = data.file_names("train")
    labels = [data.class_names[label] for label in data["train"][data.label_column]]
    return float(
        np.mean([Path(name).name.startswith(label) for name, label in zip(names, labels, strict=True)])
    )


def test_table_page_and_closing_lines_name_files_and_classes(
    dirty: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(dirty[1])]) == 0
    shown = capsys.readouterr().out
    table = pq.read_table(dirty[1] / "audit" / "label_issues.parquet").to_pydict()
    assert table["file"][0].startswith("train/")
    assert table["given_class"][0] == Path(table["file"][0]).parent.name
    assert table["suspect"][0] is True
    assert set(table["suggested_class"]) <= set(COLOURS)
    assert Path(table["file"][0]).name.startswith(table["suggested_class"][0])
    page = (dirty[1] / "audit" / "report.html").read_text()
    assert table["file"][0] in page
    assert "save decisions" in page
    assert "The judge agrees with" in shown
    summary = json.loads((dirty[1] / "audit" / "summary.json").read_text())
    assert summary["judgement"]["noise_rate"] == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("how", ["drop", "relabel"])
def test_class_folders_are_cleaned_as_class_folders(
    dirty: tuple[Path, Path], tmp_path: Path, how: str
) -> None:
    out = tmp_path / "cleaned"
    assert main(["audit", str(dirty[1]), "--export", str(out), f"--{how}"]) == 0
    before, after = jal_hf.load_noisy_dataset(str(dirty[0])), jal_hf.load_noisy_dataset(str(out))
    assert right_shares(before) == pytest.approx(0.8)
    assert right_shares(after) > 0.9
    assert len(after["test"]) == len(before["test"]) == 9
    listed = changes(out)
    assert len(after["train"]) == 90 - sum(not row["new"] for row in listed)
    assert {row["file"].split("/")[-1] for row in listed if row["new"]} == (
        {row["file"].split("/")[-1] for row in listed} if how == "relabel" else set()
    )
    assert all(
        row["given"] in COLOURS and 0 <= float(row["confidence"]) <= 1 and row["rule"] for row in listed
    )


def test_weights_become_a_table_that_train_reads(dirty: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "weighted"
    assert main(["audit", str(dirty[1]), "--export", str(out), "--weights"]) == 0
    data = jal_hf.load_noisy_dataset(str(out))
    weights = np.array(data["train"]["sample_weight"])
    is_right = [
        Path(name).name.startswith(data.class_names[label])
        for name, label in zip(data.file_names("train") or (), data["train"]["label"], strict=True)
    ]
    assert len(weights) == 90
    assert weights[is_right].mean() > 3 * weights[np.logical_not(is_right)].mean()
    assert main(["train", "--dataset", str(out), *FLAGS, "--output_dir", str(tmp_path / "run")]) == 0


def test_sample_weights_of_the_data_reach_the_loss(tmp_path: Path) -> None:
    rows = datasets.load_dataset("imagefolder", data_dir=str(class_folders(tmp_path / "pictures", rows=8)))[
        "train"
    ]

    def gradient(weights: list[float] | None, keep: slice) -> torch.Tensor:
        part = rows.select(range(24)[keep])
        if weights is not None:
            part = part.add_column("sample_weight", weights[keep])
        model = jal_hf.create_model("jal_digits_cnn", num_labels=3, image_size=8, in_chans=3)
        torch.manual_seed(0)
        args = jal_hf.JALTrainingArguments(
            output_dir=str(tmp_path / "out"), precision="fp32", per_device_train_batch_size=24, max_steps=1,
            save_strategy="no", optim="sgd", learning_rate=1.0, max_grad_norm=0, loss="ce", seed=0,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
        freeze_batch_norm(model)
        for layer in model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        trainer = RobustTrainer(model, args, train_dataset=part, augment="none")
        before = [parameter.detach().clone() for parameter in model.parameters()]
        trainer.train()
        return torch.cat(
            [(p.detach() - b).flatten() for p, b in zip(model.parameters(), before, strict=True)]
        )

    weighted = gradient([1.0] * 12 + [0.0] * 12, slice(0, 24))
    assert torch.allclose(weighted, gradient(None, slice(0, 12)), atol=1e-6)
    assert not torch.allclose(weighted, gradient(None, slice(0, 24)), atol=1e-4)


def test_a_persons_decisions_come_before_the_rule(dirty: tuple[Path, Path], tmp_path: Path) -> None:
    assert main(["audit", str(dirty[1])]) == 0
    table = pq.read_table(dirty[1] / "audit" / "label_issues.parquet").to_pydict()
    first, second, last = table["index"][0], table["index"][1], table["index"][-1]
    decided = {str(first): {"verdict": "keep"}, str(second): {"verdict": "label", "label": "green"}}
    decided[str(last)] = {"verdict": "drop"}
    (tmp_path / "decisions.json").write_text(json.dumps({"format": 1, "decisions": decided}))
    words = ["audit", str(dirty[1]), "--decisions", str(tmp_path / "decisions.json"), "--export"]
    assert main([*words, str(tmp_path / "alone")]) == 0
    assert {row["index"] for row in changes(tmp_path / "alone")} == {str(second), str(last)}
    assert main([*words, str(tmp_path / "both"), "--drop"]) == 0
    by_row = {row["index"]: row for row in changes(tmp_path / "both")}
    assert str(first) not in by_row
    assert (by_row[str(second)]["new"], by_row[str(last)]["new"]) == ("green", "")
    assert len(by_row) > 5


def test_a_saved_dataset_is_cleaned_as_a_saved_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = jal_hf.load_noisy_dataset(
        "digits", noise="symmetric:0.3", max_train_samples=300, max_eval_samples=40
    )
    out, run = tmp_path / "cleaned", tmp_path / "run"
    words = [
        "train",
        "digits",
        "--noise",
        "symmetric:0.3",
        "--max_train_samples",
        "300",
        "--max_eval_samples",
        "40",
    ]
    assert main([*words, "--num_train_epochs", "10", "--output_dir", str(run)]) == 0
    assert main(["audit", str(run), "--export", str(out), "--relabel"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "left them out: training rows beyond the 300 of --max_train_samples; test rows beyond" in shown
    cleaned = jal_hf.load_noisy_dataset(str(out))
    shares = [
        float(np.mean(np.array(found["train"]["label"]) == np.array(found["train"]["clean_label"])))
        for found in (data, cleaned)
    ]
    assert shares[0] == pytest.approx(0.7, abs=0.01)
    assert shares[1] > shares[0] + 0.1
    assert len(cleaned["test"]) == 40


@pytest.mark.parametrize("form", ["table", "class folders"])
def test_no_image_is_written_over_where_files_share_a_name(form: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for number, colour in enumerate(COLOURS):
        for row in range(3):
            save_colour(source / "train" / colour / f"{row}.png", colour, 10 * number + row)
            save_colour(source / "test" / colour / f"{row}.png", colour, 100 + 10 * number + row)
    # The name that the export would give row 4, the first green one, beside the blue 0.png.
    save_colour(source / "train" / "blue" / "4-0.png", "blue", 99)
    name = source
    if form == "table":
        name = tmp_path / "tables"
        name.mkdir()
        for split in ("train", "test"):
            files = sorted((source / split).rglob("*.png"))
            lines = ["path,label", *(f"{file},{file.parent.name}" for file in files)]
            (name / f"{split}.csv").write_text("\n".join(lines))
    data = jal_hf.load_noisy_dataset(str(name))
    originals = {path: path.read_bytes() for path in source.rglob("*.png")}
    labels = np.array(data["train"]["label"])
    labels[4] = 0
    assert export_cleaned(data, data["train"], Cleaning(labels, None, ()), out) == form
    assert {path: path.read_bytes() for path in originals} == originals
    written = jal_hf.load_noisy_dataset(str(out))
    for split in ("train", "test"):
        before = sorted(content for path, content in originals.items() if split in path.parts)
        names = written.file_names(split) or ()
        assert sorted((out / name).read_bytes() for name in names) == before


def test_a_table_keeps_its_classes_columns_and_weights(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    names = ["007", "010", "021"]
    for split in ("train", "test"):
        lines = ["path,title,label,sample_weight"]
        for row in range(6):
            save_colour(source / f"{split}{row}.png", "red", row)
            lines.append(f"{split}{row}.png,t{row},class {names[row % 3]},0.5")
        (source / f"{split}.csv").write_text("\n".join(lines))
    data = jal_hf.load_noisy_dataset(str(source))
    facts = replace(data.facts, class_names=tuple(names))
    data = NoisyDatasetDict(
        {name: rows.cast_column("label", datasets.ClassLabel(names=names)) for name, rows in data.items()},
        facts,
    )
    labels = np.array(data["train"]["label"])
    labels[labels == 2] = DROPPED
    export_cleaned(data, data["train"], Cleaning(labels, np.linspace(0.5, 1, 6), ()), out)
    after = jal_hf.load_noisy_dataset(str(out))
    assert after.class_names == names
    assert after["train"]["title"] == ["t0", "t1", "t3", "t4"]
    assert after["train"]["sample_weight"] == pytest.approx([0.25, 0.3, 0.4, 0.45])
    assert after["test"]["sample_weight"] == [0.5] * 6


def test_class_folders_keep_a_class_without_rows_and_a_validation_split(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pictures", rows=4, test=2)
    for colour in COLOURS:
        save_colour(folder / "validation" / colour / "0.png", colour, 7)
    data = jal_hf.load_noisy_dataset(str(folder), own_validation=True)
    labels = np.array(data["train"]["label"])
    labels[labels == 1] = DROPPED
    export_cleaned(data, data["train"], Cleaning(labels, None, ()), tmp_path / "out")
    after = jal_hf.load_noisy_dataset(str(tmp_path / "out"), own_validation=True)
    assert after.class_names == list(COLOURS)
    assert {name: len(rows) for name, rows in after.items()} == {"train": 8, "validation": 3, "test": 6}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--export", "OUT"], "--drop, --relabel"),
        (["--drop"], "--export DIR"),
        (["--export", "OUT", "--drop", "--threshold", "low"], "'auto' or a probability"),
        (["--export", "FULL", "--drop"], "not empty"),
        (["--export", "OUT", "--decisions", "FULL/page.json"], "no decisions"),
        (["--export", "OUT", "--decisions", "FULL/none.json"], "none.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_export_refuses_what_it_cannot_do(
    dirty: tuple[Path, Path],
    words: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("jal_hf.runs.audit.audit.load_run_data")  # the audit itself is not begun
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "page.json").write_text("{}")
    placed = [
        word.replace("FULL", str(tmp_path / "FULL")).replace("OUT", str(tmp_path / "OUT")) for word in words
    ]
    assert main(["audit", str(dirty[1]), *placed]) == 2
    assert sentence in capsys.readouterr().err


def noisy_judge(accuracy: float, rate: float, rows: int = 4000, classes: int = 10) -> tuple[Any, Any, Any]:
    """Probabilities of a judge that is surer where it is right, labels that are wrong at a rate, and the truth."""
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, rows)
    given = np.where(random.random(rows) < rate, (truth + random.integers(1, classes, rows)) % classes, truth)
    is_right = random.random(rows) < accuracy
    choice = np.where(is_right, truth, (truth + random.integers(1, classes, rows)) % classes)
    sure = np.where(is_right, random.uniform(0.4, 1.0, rows), random.uniform(0.2, 0.6, rows))
    probabilities = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probabilities[np.arange(rows), choice] = sure
    return probabilities, given, truth


def test_noise_is_estimated_by_what_the_judge_is_surest_of() -> None:
    for accuracy, rate in ((0.9, 0.1), (0.75, 0.4), (0.6, 0.2)):
        probabilities, given, truth = noisy_judge(accuracy, rate)
        found = judge_labels(probabilities, given, is_out_of_sample=True)
        assert found.noise_rate == pytest.approx(rate, abs=0.04)
        assert found.implied_accuracy == pytest.approx(accuracy, abs=0.05)
        suspects = find_suspects(probabilities, given, found)
        wrong = given != truth
        assert wrong[suspects].mean() > 0.6
        assert suspects.sum() <= round(found.noise_rate * len(given))


def test_a_useless_judge_names_no_noise_rate() -> None:
    probabilities, given, _ = noisy_judge(0.21, 0.4)
    for is_out_of_sample in (True, False):
        found = judge_labels(probabilities, given, is_out_of_sample=is_out_of_sample)
        assert found.noise_rate is None
        assert "no noise rate is named" in found.reason
        with pytest.raises(ValueError, match="no automatic threshold"):
            find_suspects(probabilities, given, found)
        assert find_suspects(probabilities, given, found, 0.05).any()


def test_implied_accuracy_undoes_the_noise_of_the_labels() -> None:
    assert implied_accuracy(0.8 * 0.6 + 0.2 * 0.4 / 9, 0.4, 10) == pytest.approx(0.8)
    assert implied_accuracy(0.7, 0.0, 10) == pytest.approx(0.7)


def test_clean_labels_follow_decision_then_rule() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    given = np.array([1, 0, 0, 0, 1])
    suspects = np.array([True, True, False, True, False])
    common = {"index": np.arange(10, 15), "files": None, "class_names": ["a", "b"]}
    found = clean_labels(probabilities, given, suspects, how="relabel", **common)
    assert found.labels.tolist() == [0, DROPPED, 0, 1, 1]
    decided = clean_labels(
        probabilities, given, suspects, how="drop", decisions={10: KEEP, 12: 1, 14: DROPPED}, **common
    )
    assert decided.labels.tolist() == [1, DROPPED, 1, DROPPED, DROPPED]
    weighted = clean_labels(probabilities, given, suspects, how="weights", decisions={10: KEEP}, **common)
    assert weighted.weights is not None
    assert weighted.weights.tolist() == pytest.approx([1.0, 0.3, 0.9, 0.2, 0.9])


@pytest.mark.parametrize("how", ["drop", "relabel"])
def test_rows_of_a_class_that_the_judge_never_predicts_stay(how: str) -> None:
    given = np.repeat([0, 1, 2], 10)
    probabilities = np.full((30, 3), 0.05)
    probabilities[np.arange(30), np.where(given == 2, 0, given)] = 0.9
    probabilities[0] = [0.05, 0.9, 0.05]
    found = clean_labels(
        probabilities, given, probabilities.argmax(axis=1) != given, how=how, index=np.arange(30), files=None,
        class_names=["a", "b", "lost"], decisions={29: DROPPED},
    )  # fmt: skip
    assert found.labels[20:29].tolist() == [2] * 9
    assert found.labels[29] == DROPPED
    assert found.labels[0] == (DROPPED if how == "drop" else 1)


def test_an_audit_names_classes_that_its_judge_lost_and_those_that_an_export_empties(
    dirty: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    logits = RunData.logits

    def blind(self: RunData, images: Any, title: str) -> Any:
        found = logits(self, images, title).copy()
        found[:, 0] -= 100.0
        return found

    monkeypatch.setattr(RunData, "logits", blind)
    audit = audit_run(dirty[1])
    assert audit.summary["warnings"][-1].startswith("The judge hardly ever predicts 1 class: blue (")
    assert json.loads((audit.folder / "summary.json").read_text())["warnings"] == audit.summary["warnings"]
    cleaning, _ = audit.export(tmp_path / "out", "drop", threshold=1.0)
    assert not any(change.given == "blue" for change in cleaning.changes)
    assert "Most rows" not in caplog.text
    green = {int(row): DROPPED for row in audit.data.index[audit.data.given == 1]}
    audit.export(tmp_path / "emptied", None, decisions=green)
    assert "get another label of 1 class: green (" in caplog.text


@pytest.mark.parametrize(
    ("decisions", "sentence"), [({99: KEEP}, "row 99"), ({10: 2}, "the class 2"), ({10: -3}, "the class -3")]
)
def test_decisions_that_do_not_fit_are_refused(decisions: dict[int, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        clean_labels(
            np.full((2, 2), 0.5), np.array([0, 1]), np.zeros(2, dtype=bool), how=None, index=np.array([10, 11]),
            files=None, class_names=["a", "b"], decisions=decisions,
        )  # fmt: skip


def test_decisions_on_an_unknown_class_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps({"decisions": {"3": {"verdict": "label", "label": "gren"}}}))
    with pytest.raises(ValueError, match="Did you mean 'green'"):
        read_decisions(path, ["red", "green"])
