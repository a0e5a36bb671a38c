"""What a finished run's model is for on the command line: to classify files, and as a file for other programs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, pipeline

import jal_hf
from jal_hf.cli.main import main
from jal_hf.models import export_model
from jal_hf.runs.prediction import predict_images
from tests.runs.helpers import class_folders

FLAGS = [
    "--image_size",
    "8",
    "--augment",
    "none",
    "--num_train_epochs",
    "6",
    "--per_device_train_batch_size",
    "16",
]
FLAGS += [
    "--dataloader_num_workers",
    "0",
    "--precision",
    "fp32",
    "--model",
    "jal_digits_cnn",
    "--learning_rate",
    "0.05",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("use")
    folder = class_folders(root / "pictures", rows=20, test=4)
    assert main(["train", "--dataset", str(folder), *FLAGS, "--output_dir", str(root / "run")]) == 0
    return folder, root / "run"


def test_predict_writes_a_table_of_files_folders_and_answers(run: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    assert main(["predict", str(run[1]), str(run[0] / "test"), "--out", str(table)]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert all(Path(row["file"]).parent.name == row["label"] for row in rows)
    assert all(0 < float(row["score"]) <= 1 for row in rows)


def test_predict_prints_a_line_a_file(run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    image = run[0] / "test" / "red" / "000.png"
    assert main(["predict", str(run[1]), str(image)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split("\t")[:2] == [str(image), "red"]


def test_predict_sees_sixteen_bit_images_as_training_does(run: tuple[Path, Path], tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 1 << 16, (16, 16), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "grey.png")
    answers = predict_images(
        run[1], [tmp_path / "grey.png", tmp_path / "deep.png", Image.fromarray(deep), deep]
    )
    assert answers == [answers[0]] * 4
    with pytest.raises(ValueError, match="floating-point"):
        predict_images(run[1], [deep.astype(np.float32)])


@pytest.mark.parametrize(("kind", "name"), [("torchscript", "model.pt"), ("onnx", "model.onnx")])
def test_export_writes_a_file_that_gives_the_models_logits(
    run: tuple[Path, Path], kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
    assert main(["export", str(run[1]), "--format", kind]) == 0
    assert "differ from the model's by at most" in capsys.readouterr().out
    assert (run[1] / name).stat().st_size > 1000
    if kind == "torchscript":
        from transformers import AutoModelForImageClassification

        images = torch.randn(3, 3, 8, 8)
        expected = AutoModelForImageClassification.from_pretrained(run[1]).eval()(images).logits
        assert torch.allclose(torch.jit.load(str(run[1] / name))(images), expected, atol=1e-4)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predict", "RUN", "absent.png"], "absent.png"),
        (["predict", "EMPTY", "absent.png"], "no model"),
        (["predict", "RUN", "EMPTY"], "no images"),
        (["predict", "RUN", "BAD"], "bad.png"),
        (["export", "EMPTY"], "no finished run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands_refuse_what_is_not_there(
    run: tuple[Path, Path],
    words: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no image")
    places = {"RUN": run[1], "EMPTY": tmp_path / "EMPTY", "BAD": tmp_path / "bad.png"}
    assert main([str(places.get(word, word)) for word in words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("network", ["tf_efficientnet_lite0", "vit"])
@pytest.mark.parametrize("augment", ["crop-flip", "randomresizedcrop"])
def test_pipeline_gives_the_predictions_of_the_runs_own_evaluation(
    network: str, augment: str, tmp_path: Path
) -> None:
    side = 112  # from 96 on, networks of timm have a crop and an interpolation of their own
    draw = np.random.default_rng(0)
    for number, size in enumerate([(150, 113), (97, 140), (112, 112), (31, 40), (201, 112), (32, 32)]):
        path = tmp_path / "pictures" / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    name = network
    if network == "vit":
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        name = str(tmp_path / "vit")
        ViTForImageClassification(ViTConfig(image_size=side, patch_size=16, **small)).save_pretrained(name)
    config = jal_hf.RunConfig.from_recipe(
        dataset=str(tmp_path / "pictures"), model=name, image_size=side, augment=augment, precision="fp32",
        dataloader_num_workers=0, output_dir=str(tmp_path / "run"), eval_strategy="no",
    )  # fmt: skip
    data = jal_hf.load_noisy_dataset(str(tmp_path / "pictures"))
    trainer = jal_hf.JALTrainer.from_config(config, data=data)
    own = torch.softmax(torch.as_tensor(trainer.predict(data["train"]).predictions), dim=1)
    export_model(trainer.model, tmp_path / "saved")
    classify = pipeline("image-classification", model=str(tmp_path / "saved"))
    for row, image in enumerate(data["train"]["image"]):
        scores = {answer["label"]: answer["score"] for answer in classify(image)}
        assert [scores[label] for label in "ab"] == pytest.approx(own[row].tolist(), abs=2e-3)
    processor = classify.image_processor
    seen = trainer.raw_images.ready(data["train"], train=False).__getitems__(range(len(own)))["pixel_values"]
    for row, image in enumerate(data["train"]["image"]):
        theirs = processor(image, return_tensors="pt")["pixel_values"][0]
        # a rounding of one in 255, over the smallest deviation that pixels are divided by
        assert torch.allclose(theirs, seen[row], atol=1.01 / 255 / 0.224)
