"""Networks that a person brings: what a run makes of them, and that they can be saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    TimmWrapperForImageClassification,
    pipeline,
)

from jal_hf import JALTrainer, JALTrainingArguments
from jal_hf.models import RunTimmModel, as_run_model, create_model, export_model, savable_weights
from jal_hf.models.preprocessing import Preprocessing


class Plain(nn.Module):
    """A user's own network, a shared layer and a layer called `module` in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.module = nn.Linear(8, 8)
        self.again = self.module
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).mean((2, 3))
        return self.head(self.again(self.module(x)))


@pytest.mark.parametrize(
    ("name", "size", "arguments"),
    [
        ("resnet10t", 64, {"in_chans": 3}),
        ("resnet10t", 64, {"in_chans": 1, "drop_rate": 0.3, "drop_path_rate": 0.1}),
        ("vit_tiny_patch16_224", 32, {"img_size": 32, "in_chans": 1}),
        ("jal_cnn8", 24, {"img_size": 24}),
        ("mobilenetv3_small_050", 64, {}),
    ],
)
def test_bare_timm_network_in_any_layout_loads_in_all_four_ways(
    name: str, size: int, arguments: dict[str, Any], tmp_path: Path
) -> None:
    network = timm.create_model(name, num_classes=3, **arguments).eval().to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    model = as_run_model(network, ["a", "b", "c"], {"image_size": size, "mean": 0.4, "std": 0.3})
    assert isinstance(model, RunTimmModel)
    assert all(ours is theirs for ours, theirs in zip(model.parameters(), parameters, strict=True))
    export_model(model, tmp_path)
    channels = arguments.get("in_chans", 3)
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 1), dtype=np.uint8).repeat(3, 2)
    image = torch.from_numpy(pixels[..., :channels]).permute(2, 0, 1)[None].float().div(255).sub(0.4).div(0.3)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.inference_mode():
        logits = network(image)
        torch.testing.assert_close(loaded(image).logits, logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(plain(image), logits, rtol=0, atol=1e-5)
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c"}
    if channels == 3:
        classifier = pipeline("image-classification", model=str(tmp_path), function_to_apply="none", top_k=3)
        scores = {entry["label"]: entry["score"] for entry in classifier(Image.fromarray(pixels))}
        assert scores == pytest.approx(dict(zip("abc", logits[0].tolist(), strict=True)), abs=1e-5)
    again = create_model(str(tmp_path), num_labels=3)
    assert tuple(again.config.pretrained_cfg["mean"]) == (0.4,) * channels


def test_bare_timm_network_is_exported_as_it_is(tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", num_classes=3).to(memory_format=torch.channels_last)
    export_model(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("resnet10t", 3)
    assert config["pretrained_cfg"]["input_size"] == [3, 176, 176]
    assert set(load_file(tmp_path / "model.safetensors")) == set(network.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        lambda network: setattr(network, "fc", nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 3))),
        lambda network: setattr(network, "act1", nn.GELU()),
    ],
    ids=["another head", "another activation"],
)
def test_timm_network_with_a_changed_layer_stays_a_plain_module(change: Any, tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", num_classes=3)
    change(network)
    assert as_run_model(network) is network
    export_model(network, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["class"] == "timm.models.resnet.ResNet"
    with pytest.raises(ValueError, match="timm builds another resnet10t from"):
        as_run_model(network, model_args={})


def test_arguments_that_no_layer_shows_are_taken_from_the_person() -> None:
    network = timm.create_model("resnet10t", num_classes=3, global_pool="max")
    assert as_run_model(network) is network
    model = as_run_model(network, model_args={"global_pool": "max"})
    assert isinstance(model, RunTimmModel)
    assert model.config.model_args == {"global_pool": "max", "in_chans": 3}


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_plain_module_is_saved_and_says_how_it_is_loaded(layout: torch.memory_format, tmp_path: Path) -> None:
    network = Plain().to(memory_format=layout)
    assert as_run_model(network, ["a", "b", "c", "d"]) is network
    export_model(network, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert {name: value.tolist() for name, value in saved.items()} == {
        name: value.tolist() for name, value in network.state_dict().items()
    }
    gathered = {f"module.{name}": value for name, value in network.state_dict().items()}
    export_model(nn.DataParallel(network), tmp_path, state_dict=gathered)
    assert set(load_file(tmp_path / "model.safetensors")) == set(saved)
    fresh = Plain()
    fresh.load_state_dict(saved)
    assert torch.equal(fresh.conv.weight, network.conv.weight)
    with pytest.raises(
        ValueError, match=r"weights of tests.*Plain, which only its own code can build.*load_w"
    ):
        create_model(str(tmp_path), num_labels=4)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_model_of_transformers_stays_and_is_saved_in_any_layout(
    layout: torch.memory_format, tmp_path: Path
) -> None:
    config = ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8, num_labels=2, layer_type="basic")
    model = ResNetForImageClassification(config).to(memory_format=layout)
    assert as_run_model(model, ["cat", "dog"], {"image_size": 32, "mean": 0.5, "std": 0.5}) is model
    assert model.config.id2label == {0: "cat", 1: "dog"}
    assert model.config.pretrained_cfg["input_size"] == (3, 32, 32)
    export_model(model, tmp_path)
    for name, value in AutoModelForImageClassification.from_pretrained(tmp_path).state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    with pytest.raises(ValueError, match="yet there are 3 class names"):
        as_run_model(model, ["a", "b", "c"])


def test_stock_timm_wrapper_saves_from_then_on_what_timm_reads(tmp_path: Path) -> None:
    export_model(create_model("jal_digits_cnn", num_labels=3), tmp_path / "a")
    stock = AutoModelForImageClassification.from_pretrained(tmp_path / "a")
    assert type(stock) is TimmWrapperForImageClassification
    model = as_run_model(stock)
    assert isinstance(model, RunTimmModel)
    assert next(model.parameters()) is next(stock.parameters())
    model.save_pretrained(tmp_path / "b")
    timm.create_model(f"local-dir:{tmp_path / 'b'}", pretrained=True)
    assert (tmp_path / "b/model.safetensors").read_bytes() == (tmp_path / "a/model.safetensors").read_bytes()


def test_run_model_comes_back_itself_with_what_is_given() -> None:
    model = create_model("jal_digits_cnn", num_labels=2)
    own = Preprocessing((1, 8, 8), (0.1,), (0.2,))
    assert as_run_model(model, ["x", "y"], own) is model
    assert model.config.label2id == {"x": 0, "y": 1}
    assert model.config.pretrained_cfg["mean"] == (0.1,)
    with pytest.raises(ValueError, match="preprocessing has no 'size'; allowed are image_size"):
        as_run_model(model, preprocessing={"size": 8})


def test_savable_weights_are_contiguous_and_share_no_memory(tmp_path: Path) -> None:
    matrix = torch.randn(4, 6)
    weights = {
        "a": matrix,
        "b": matrix,
        "row": matrix[1],
        "turned": matrix.T,
        "none": torch.empty(0),
        "none2": torch.empty(0),
    }
    save_file(savable_weights(weights), tmp_path / "w.safetensors")
    for name, value in load_file(tmp_path / "w.safetensors").items():
        assert torch.equal(value, weights[name]), name


def test_model_init_gives_a_run_model_too(tmp_path: Path) -> None:
    trainer = JALTrainer(
        args=JALTrainingArguments(output_dir=str(tmp_path), use_cpu=True),
        model_init=lambda: timm.create_model("resnet10t", num_classes=3),
    )
    assert isinstance(trainer.model, RunTimmModel)


CASES = {
    "timm": lambda: (timm.create_model("resnet10t", num_classes=4), (3, 32, 32)),
    "plain": lambda: (Plain(), (3, 8, 8)),
    "video": lambda: (
        nn.Sequential(nn.Conv3d(3, 4, 2), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 4)),
        (3, 4, 6, 6),
    ),
    "vectors": lambda: (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), (6,)),
    "series": lambda: (
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 4)),
        (2, 9),
    ),
}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("kind", sorted(CASES))
def test_trainer_trains_saves_and_resumes_any_network(kind: str, channels_last: bool, tmp_path: Path) -> None:
    network, shape = CASES[kind]()
    rows = [
        {"pixel_values": torch.randn(*shape, generator=torch.Generator().manual_seed(row)), "labels": row % 4}
        for row in range(8)
    ]
    settings: dict[str, Any] = {
        "output_dir": str(tmp_path), "max_steps": 2, "save_steps": 1, "per_device_train_batch_size": 4,
        "channels_last": channels_last, "disable_tqdm": True, "use_cpu": True, "learning_rate": 0.1,
    }  # fmt: skip
    trainer = JALTrainer(network, JALTrainingArguments(**settings), train_dataset=rows, loss="jal-ce")
    trainer.train()
    assert set(load_file(tmp_path / "checkpoint-2/model.safetensors")) == set(network.state_dict())
    after = {name: value.clone() for name, value in network.state_dict().items()}
    again, _ = CASES[kind]()
    trainer = JALTrainer(again, JALTrainingArguments(**settings), train_dataset=rows, loss="jal-ce")
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=0, atol=1e-6)


def test_export_refuses_what_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module, got dict"):
        export_model({}, tmp_path)  # type: ignore[arg-type]
