"""What is written loads bit-equal everywhere, and stays whole through a crash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    TimmWrapperForImageClassification,
    pipeline,
)

from jal_hf.models import create_model, export_model
from jal_hf.models.weights_file import write_weights

CASES = {
    "jal_digits_cnn": (8, 1),
    "jal_mnist_cnn": (28, 1),
    "jal_cnn8": (32, 3),
    "jal_resnet34_cifar": (32, 3),
    "resnet10t": (32, 3),
    "vit_tiny_patch16_224": (32, 3),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_exported_model_loads_bit_equal_in_transformers_pipeline_and_timm(name: str, tmp_path: Path) -> None:
    size, channels = CASES[name]
    names = [f"class {number}" for number in range(10)]
    model = create_model(
        name, num_labels=10, class_names=names, image_size=size, in_chans=channels, mean=0.4, std=0.3
    ).eval()
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    shape = (size, size) if channels == 1 else (size, size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = torch.from_numpy(pixels.reshape(size, size, channels)).permute(2, 0, 1)[None].float().div(255)
    image = (image - 0.4) / 0.3
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.inference_mode():
        logits = model(image).logits
        assert torch.equal(loaded(image).logits, logits)
        assert torch.equal(plain(image), logits)
    assert loaded.config.id2label == model.config.id2label
    assert loaded.config.label2id == model.config.label2id
    processed = AutoImageProcessor.from_pretrained(tmp_path)(Image.fromarray(pixels).convert("RGB"))
    assert torch.equal(processed["pixel_values"][:, :channels], image)
    classifier = pipeline("image-classification", model=str(tmp_path), top_k=10, function_to_apply="none")
    scores = {entry["label"]: entry["score"] for entry in classifier(Image.fromarray(pixels))}
    assert scores == dict(zip(names, logits[0].tolist(), strict=True))


def test_large_image_is_resized_and_cropped_as_the_run_did(tmp_path: Path) -> None:
    model = create_model("resnet10t", num_labels=2, image_size=112, crop_pct=0.875, interpolation="bilinear")
    export_model(model, tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    resize, crop = processor.val_transforms.transforms[:2]
    assert (resize.size, tuple(crop.size)) == (128, (112, 112))


def test_weights_gathered_elsewhere_are_written_under_the_networks_own_names(tmp_path: Path) -> None:
    model = create_model("jal_digits_cnn", num_labels=3)
    gathered = {f"_orig_mod.{name}": torch.ones_like(value) for name, value in model.state_dict().items()}
    export_model(model, tmp_path, state_dict=gathered)
    saved = load_file(tmp_path / "model.safetensors")
    assert set(saved) == set(model.timm_model.state_dict())
    assert all(bool((value == 1).all()) for value in saved.values())


def test_config_names_no_number_of_classes_among_the_arguments(tmp_path: Path) -> None:
    # with it AutoModelForImageClassification fails: multiple values for keyword argument 'num_classes'
    export_model(create_model("jal_cnn8", num_labels=3, drop_rate=0.1), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_args"] == {"drop_rate": 0.1, "in_chans": 3, "img_size": [32, 32]}
    assert config["num_classes"] == 3


def test_every_large_tensor_of_the_file_is_aligned_and_read_back(tmp_path: Path) -> None:
    weights = {
        "b": torch.randn(10),
        "a": torch.randn(64, 16),
        "counter": torch.tensor(3),
        "half": torch.randn(8, 8).half(),
        "brain": torch.randn(8, 8).bfloat16(),
        "none": torch.empty(0, 3),
        "flag": torch.tensor([True, False, True]),
        "transposed": torch.randn(16, 32).T,
    }
    write_weights(weights, tmp_path / "w.safetensors")
    read = load_file(tmp_path / "w.safetensors")
    assert set(read) == set(weights)
    for name, value in weights.items():
        assert torch.equal(read[name], value), name
        assert read[name].dtype == value.dtype
    content = (tmp_path / "w.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert (8 + length) % 64 == 0
    for name in ("a", "transposed", "half", "brain"):
        assert header[name]["data_offsets"][0] % 64 == 0, name


def test_saved_weights_go_back_into_a_model_by_their_saved_names(tmp_path: Path) -> None:
    # as the Trainer does on resume, where names that do not fit would be dropped without a word
    first, second = (create_model("jal_digits_cnn", num_labels=3) for _ in range(2))
    first.save_pretrained(tmp_path)
    second.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_folder_of_the_stock_wrapper_is_refused_until_it_is_converted(tmp_path: Path) -> None:
    TimmWrapperForImageClassification.save_pretrained(create_model("jal_digits_cnn", num_labels=3), tmp_path)
    if not any(name.startswith("timm_model.") for name in load_file(tmp_path / "model.safetensors")):
        pytest.skip("this version of transformers saves the names of timm")
    with pytest.raises(ValueError, match="Convert it once"):
        create_model(str(tmp_path), num_labels=3)
    export_model(AutoModelForImageClassification.from_pretrained(tmp_path), tmp_path)
    create_model(str(tmp_path), num_labels=3)


def test_failed_write_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights({"a": torch.ones(4)}, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be saved"):
        write_weights({"a": torch.ones(4), "b": torch.ones(4, dtype=torch.complex64)}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


def test_saving_with_a_push_points_to_the_push_that_carries_a_card(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jal-hf push"):
        create_model("jal_digits_cnn", num_labels=3).save_pretrained(tmp_path, push_to_hub=True)
