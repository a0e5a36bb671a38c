"""Data from anywhere: label files, class folders and tables that do not fit end in a sentence, before training."""

from __future__ import annotations

import random
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file

from jal_hf.training.hardware import LAUNCHED_ALONE, launched_alone
from tests.attack.helpers import attack, refused, train
from tests.distributed.scenarios import make_trainer

ROWS = 24


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parquet of grey images of four classes."""
    folder = tmp_path_factory.mktemp("table")
    draw = np.random.default_rng(0)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))}
    )
    from PIL import Image

    images = [Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)) for _ in range(ROWS)]
    rows = {"image": images, "label": [k % 4 for k in range(ROWS)]}
    (folder / "data").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / "train-0.parquet")
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / "test-0.parquet")
    return folder


def refuse(table: Path, tmp_path: Path, *words: object) -> str:
    fixed = [
        "--dataset",
        table,
        "--max_steps",
        1,
        "--disable_tqdm",
        "true",
        "--save_strategy",
        "no",
        "--output_dir",
        tmp_path / "out",
    ]
    sentence = refused("train", "digits", *fixed, *words)
    assert not (tmp_path / "out").exists()
    return sentence


@pytest.mark.parametrize("rows", [0, 1, ROWS - 1, ROWS + 1, 10 * ROWS])
@pytest.mark.parametrize("subset", [[], ["--max_train_samples", 8]], ids=["all", "subset"])
def test_label_file_of_another_length_is_refused(
    rows: int, subset: list[object], table: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "labels.npz", x=np.zeros(rows, dtype=int))
    assert "labels.npz" in refuse(table, tmp_path, "--noise", f"labels:{tmp_path / 'labels.npz'}#x", *subset)


@pytest.mark.parametrize(("rows", "is_right"), [(1796, False), (1797, True), (1798, False), (5000, False)])
def test_label_file_fits_all_rows_that_its_numbers_count(rows: int, is_right: bool, tmp_path: Path) -> None:
    # The digits number the rows of both splits together.
    np.savez(tmp_path / "labels.npz", x=np.zeros(rows, dtype=int))
    words = ["--max_train_samples", 64, "--max_eval_samples", 16, "--max_steps", 1, "--save_strategy", "no"]
    words += ["--disable_tqdm", "true", "--noise", f"labels:{tmp_path / 'labels.npz'}#x"]
    code = attack("train", "digits", *words, "--output_dir", tmp_path / "out").code
    assert (code == 0) == is_right


@pytest.mark.parametrize("rows", [ROWS - 1, ROWS, ROWS + 1])
def test_label_file_fits_the_rows_before_unreadable_images_are_left_out(rows: int, tmp_path: Path) -> None:
    from jal_hf import load_noisy_dataset
    from tests.runs.helpers import class_folders

    folder = class_folders(tmp_path / "pictures", rows=ROWS // 3, test=2)
    images = sorted((folder / "train").rglob("*.png"))
    images[5].write_bytes(b"no picture")
    np.savez(tmp_path / "labels.npz", x=np.zeros(rows, dtype=int))
    noise = f"labels:{tmp_path / 'labels.npz'}#x"
    if rows != ROWS:
        with pytest.raises(ValueError, match="labels"):
            load_noisy_dataset(str(folder), noise=noise, on_bad_image="skip")
    else:
        assert len(load_noisy_dataset(str(folder), noise=noise, on_bad_image="skip")["train"]) == ROWS - 1


@pytest.mark.parametrize(
    "labels",
    [
        np.full(ROWS, 4),
        np.full(ROWS, -1),
        np.zeros(ROWS),
        np.full(ROWS, np.nan),
        np.zeros((ROWS, 2), int),
        np.array(["z"] * ROWS),
        np.full(ROWS, 2**62),
        np.zeros(ROWS, bool),
        np.array([None] * ROWS),
    ],
    ids=["beyond", "below", "real", "nan", "table", "name", "huge", "truth", "objects"],
)
def test_label_file_of_other_values_is_refused(labels: np.ndarray, table: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", x=labels)
    sentence = refuse(table, tmp_path, "--noise", f"labels:{tmp_path / 'labels.npz'}#x")
    assert "labels.npz" in sentence
    assert any(reason in sentence for reason in ("holds", "has shape", "which is no class", "is a pickle"))


def file_of_noise(number: int, folder: Path) -> str:
    draw = random.Random(number)
    name = folder / draw.choice(
        ["labels.npz", "labels.npy", "labels.parquet", "labels.csv", "labels.pt", "labels", "T.npy"]
    )
    name.write_bytes(
        draw.randbytes(draw.choice([0, 1, 10, 1000]))
        if draw.random() < 0.7
        else b"PK\x03\x04" + draw.randbytes(90)
    )
    return f"{draw.choice(['labels', 'human', 'matrix'])}:{name}{draw.choice(['', '#x', '#'])}"


@pytest.mark.parametrize("number", range(12))
def test_label_file_of_any_bytes_is_a_sentence(number: int, table: Path, tmp_path: Path) -> None:
    spec = file_of_noise(number, tmp_path)
    assert Path(spec.partition(":")[2].partition("#")[0]).name in refuse(table, tmp_path, "--noise", spec)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100, 200))
def test_label_files_of_any_bytes_are_a_sentence(number: int, table: Path, tmp_path: Path) -> None:
    spec = file_of_noise(number, tmp_path)
    assert Path(spec.partition(":")[2].partition("#")[0]).name in refuse(table, tmp_path, "--noise", spec)


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--num_classes", 5, "num_classes is 5, and the data has 4"),
        ("--num_classes", 1, "num_classes is 1, and the data has 4"),
        ("--label_column", "nope", "no label column 'nope'"),
        ("--image_column", "nope", "no image column 'nope'"),
        ("--train_split", "nope", "no split 'nope'"),
        ("--eval_split", "nope", "no split 'nope'"),
        ("--noise", "matrix:/dev/null", "'/dev/null' does not exist"),
        ("--noise", "symmetric:2", "rate of symmetric is 2.0"),
        ("--noise", "symmetric:nan", "rate of symmetric is nan"),
        ("--noise", "asymmetric:0.4,classes=cifar10", "'cifar10' is for 10 classes"),
        ("--val_fraction", 2, "val_fraction is a share"),
        ("--max_train_samples", 0, "max_train_samples must be at least 1"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(
    flag: str, value: object, reason: str, table: Path, tmp_path: Path
) -> None:
    assert reason in refuse(table, tmp_path, flag, value)


@pytest.mark.parametrize("parameter", ["a", "alpha", "beta"])
@pytest.mark.parametrize("value", ["1e308", "NaN", "-1", '"x"', "[1]", "null", "true"])
def test_parameter_that_no_loss_can_have_is_refused(
    parameter: str, value: str, table: Path, tmp_path: Path
) -> None:
    given = f'{{"{parameter}": {value}}}'
    sentence = refuse(table, tmp_path, "--loss", "jal-ce", "--preset", "none", "--loss_args", given)
    assert f": {parameter} must be " in sentence


def test_network_with_fewer_outputs_than_classes_is_refused_before_training(
    table: Path, tmp_path: Path
) -> None:
    from jal_hf import JALTrainer, JALTrainingArguments, create_model

    rows = datasets.load_dataset(
        "parquet", data_files=str(table / "data" / "train-0.parquet"), split="train", cache_dir=str(tmp_path)
    )
    model = create_model("jal_digits_cnn", num_labels=3, image_size=8, in_chans=1)
    args = JALTrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True)
    with pytest.raises(ValueError, match=r"3 outputs .* 4 classes"):
        JALTrainer(model=model, args=args, train_dataset=rows, augment="none")
    assert torch.is_tensor(next(model.parameters()))
    assert not (tmp_path / "out").exists()


def test_launcher_that_starts_one_process_in_place_of_two_is_noticed() -> None:
    asked = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}
    assert launched_alone(asked)
    assert not launched_alone({**asked, "WORLD_SIZE": "2"})
    assert not launched_alone({name: value for name, value in asked.items() if name != "MASTER_ADDR"})
    assert not launched_alone({"MASTER_ADDR": "127.0.0.1"})


def test_run_that_was_launched_alone_names_the_config_file_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}
    monkeypatch.setattr("jal_hf.runs.run.launched_alone", lambda: launched_alone(asked))
    monkeypatch.setattr("jal_hf.runs.trainer.launched_alone", lambda: launched_alone(asked))
    said = train(tmp_path / "run", steps=1).printed
    assert said.count(LAUNCHED_ALONE) == 1
    named = next(word for word in said.split() if word.endswith(".yaml"))
    assert load_config_from_file(str(Path(__file__).parents[2] / named)).num_processes == 2


@pytest.mark.parametrize("save_strategy", ["no", "steps"])
def test_own_script_that_was_launched_alone_is_told_so(
    save_strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(tmp_path, 1, 1, torch.float32, max_steps=1, save_strategy=save_strategy)
    trainer.train()
    assert caplog.messages.count(LAUNCHED_ALONE) == 1
