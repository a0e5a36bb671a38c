"""The parts of fine-tuning: frozen layers, a safe head, groups of parameters, features, adapters."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.layers import BatchNormAct2d
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from jal_hf.models import (
    add_lora,
    create_model,
    export_model,
    extract_features,
    freeze,
    freeze_batch_norm,
    merge_lora,
    parameter_groups,
    start_head,
    unfreeze_batch_norm,
)
from jal_hf.models.head import head_parameter_names
from jal_hf.models.layer_rates import layer_numbers
from jal_hf.training import JALTrainingArguments
from jal_hf.training.synchronised import with_synchronised_batchnorm

TINY: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 16,
}


def vit() -> ViTForImageClassification:
    return ViTForImageClassification(ViTConfig(image_size=32, patch_size=16, num_labels=3, **TINY))


def hf_resnet() -> ResNetForImageClassification:
    return ResNetForImageClassification(
        ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8, num_labels=3, layer_type="basic")
    )


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(8, 3),
    )  # fmt: skip


MODELS = {
    "wrapped timm": lambda: create_model("mobilenetv3_small_050", num_labels=3, image_size=32),
    "bare timm": lambda: timm.create_model("resnet10t", num_classes=3),
    "ours": lambda: timm.create_model("jal_cnn8", num_classes=3),
    "distilled": lambda: timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3, img_size=32),
    "transformers vit": vit,
    "transformers resnet": hf_resnet,
    "plain": plain,
}
every_model = pytest.mark.parametrize("kind", sorted(MODELS))


def batch(rows: int = 4) -> torch.Tensor:
    return torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    output = model(images)
    output = getattr(output, "logits", output)
    return output[0] + output[1] if isinstance(output, tuple) else output


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: value.clone() for name, value in model.named_buffers() if "running" in name or "num_b" in name
    }


def test_fused_layers_are_in_the_test() -> None:
    assert any(isinstance(layer, BatchNormAct2d) for layer in MODELS["wrapped timm"]().modules())


@every_model
def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights(kind: str) -> None:
    model = MODELS[kind]()
    names, before, printed = set(model.state_dict()), statistics(model), repr(model)
    count = freeze_batch_norm(model.train())
    assert count == sum(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    model.eval()
    model.train()
    logits(model, batch()).square().sum().backward()
    for name, value in statistics(model).items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert set(model.state_dict()) == names
    assert repr(model) == printed
    assert all(
        layer.training for layer in model.modules() if not isinstance(layer, nn.modules.batchnorm._BatchNorm)
    )


@pytest.mark.parametrize("kind", ["wrapped timm", "bare timm", "plain"])
def test_frozen_batch_norm_is_undone_to_the_bit(kind: str) -> None:
    model = MODELS[kind]()
    twin = copy.deepcopy(model)
    freeze_batch_norm(model)
    model.train()
    unfreeze_batch_norm(model)
    assert all("train" not in vars(layer) for layer in model.modules())
    for network in (model.train(), twin.train()):
        torch.manual_seed(0)
        logits(network, batch())
    for name, value in statistics(model).items():
        assert torch.equal(value, statistics(twin)[name]), name


def test_frozen_layers_stay_frozen_in_copies_and_pickles() -> None:
    model = MODELS["bare timm"]()
    freeze_batch_norm(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = statistics(other)
        logits(other.train(), batch())
        assert all(torch.equal(value, before[name]) for name, value in statistics(other).items())
        unfreeze_batch_norm(other.train())
        logits(other, batch())
        assert not all(torch.equal(value, before[name]) for name, value in statistics(other).items())
    logits(model.train(), batch())
    assert not any(layer.training for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))


def test_frozen_layers_stay_frozen_when_they_are_replaced_by_synchronised_ones() -> None:
    model = freeze(MODELS["wrapped timm"](), "bn")
    converted = with_synchronised_batchnorm(
        model, JALTrainingArguments(output_dir="unused", use_cpu=True)
    ).train()
    layers = [layer for layer in converted.modules() if isinstance(layer, nn.SyncBatchNorm)]
    assert layers
    assert not any(layer.training for layer in layers)


def test_batch_norm_without_statistics_is_left_alone() -> None:
    assert (
        freeze_batch_norm(nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.InstanceNorm1d(3)))
        == 0
    )


@every_model
def test_frozen_backbone_trains_the_classifier_alone(kind: str) -> None:
    model = freeze(MODELS[kind](), "backbone").train()
    head = head_parameter_names(model)
    assert head
    assert {name for name, value in model.named_parameters() if value.requires_grad} == head
    assert not any(
        layer.training for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], 0.1)
    logits(model, batch()).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == head
    assert all(value.requires_grad for value in freeze(model, "none").parameters())
    assert all(module.training for module in model.modules())


def test_freeze_replaces_the_former_one_and_leaves_what_others_froze() -> None:
    model = MODELS["bare timm"]()
    model.conv1[0].weight.requires_grad_(False)
    freeze(model, "backbone")
    freeze(model, "bn")
    frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
    assert frozen == ["conv1.0.weight"]
    assert not model.train().bn1.training
    assert freeze(model, "none").train().bn1.training
    with pytest.raises(ValueError, match="freeze is 'head'; choose one of none, bn, lower, backbone"):
        freeze(model, "head")
    with pytest.raises(ValueError, match="has no classifier"):
        freeze(timm.create_model("resnet10t", num_classes=0), "backbone")


def test_frozen_model_is_exported_unchanged(tmp_path: Path) -> None:
    model = MODELS["wrapped timm"]()
    export_model(model, tmp_path / "before")
    export_model(freeze(model, "backbone"), tmp_path / "after")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "large"),
    [("tf_efficientnet_lite0", True), ("resnet10t", False), ("vit_tiny_patch16_224", False)],
)
def test_head_that_starts_large_is_zeroed_and_others_left(name: str, large: bool) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_labels=10, image_size=64)
    before = model.timm_model.get_classifier().weight.clone()
    std = start_head(model)
    after = model.timm_model.get_classifier()
    assert torch.equal(after.weight, torch.zeros_like(before) if large else before)
    assert std == pytest.approx(0.0 if large else before.std(correction=0).item())
    assert before.std() > 0.15 or not large
    assert not (large and after.bias.any())


@every_model
def test_head_starts_as_asked(kind: str) -> None:
    model = MODELS[kind]()
    assert start_head(model, "zero") == 0
    assert not logits(model.eval(), batch()).any()
    assert start_head(model, 0.02) == 0.02
    assert start_head(model, "own") == pytest.approx(0.02, rel=0.6)
    for wrong in ("large", -0.1):
        with pytest.raises(ValueError, match="choose auto, zero, own, or a standard deviation"):
            start_head(model, wrong)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "repvit_m0_9"])
def test_both_classifiers_of_a_distilled_network_are_started(name: str) -> None:
    model = create_model(name, num_labels=5, image_size=32)
    assert start_head(model, "zero") == 0
    assert not logits(model.eval(), torch.randn(2, 3, 32, 32)).any()


@every_model
def test_groups_hold_every_parameter_once_and_spare_norms_and_biases(kind: str) -> None:
    model = MODELS[kind]()
    first = next(parameter for parameter in model.parameters())
    first.requires_grad_(False)
    groups = parameter_groups(
        model, learning_rate=0.1, weight_decay=0.05, layer_decay=0.5, head_learning_rate=1.0
    )
    grouped = [parameter for group in groups for parameter in group["params"]]
    expected = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(grouped) == len(expected)
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in expected}
    head = head_parameter_names(model)
    for group in groups:
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            assert (group["weight_decay"] == 0) == (
                parameter.ndim <= 1 or "token" in name or "pos_embed" in name
            ), name
            assert (group["lr"] == 1.0) == (name in head), name
    torch.optim.AdamW(groups).step()


@pytest.mark.parametrize("kind", ["wrapped timm", "bare timm", "transformers vit"])
def test_lower_layers_learn_slower(kind: str) -> None:
    model = MODELS[kind]()
    numbers = layer_numbers(model)
    groups = parameter_groups(model, learning_rate=1.0, weight_decay=0.0, layer_decay=0.5)
    rates = {name: group["lr"] for group in groups for name in group["param_names"]}
    top = max(numbers.values())
    assert rates == {name: 0.5 ** (top - number) for name, number in numbers.items()}
    assert numbers[next(iter(numbers))] == 0
    assert {numbers[name] for name in head_parameter_names(model)} == {top}
    assert len(set(numbers.values())) >= 3


def test_layers_of_an_encoder_are_numbered_from_the_input() -> None:
    numbers = layer_numbers(vit())
    assert numbers["vit.embeddings.cls_token"] == 0
    layers = {number for name, number in numbers.items() if ".layer.0." in name or ".layers.0." in name}
    assert layers == {1}
    assert numbers["vit.layernorm.weight"] == 2
    assert numbers["classifier.weight"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "must be positive"),
        ({"layer_decay": 1.5}, r"lie in \(0, 1\]"),
        ({"weight_decay": -1.0}, "at least 0"),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameter_groups(plain(), **{"learning_rate": 0.1, "weight_decay": 0.0, **changes})


@every_model
def test_features_are_what_the_classifier_sees(kind: str) -> None:
    model = freeze(MODELS[kind](), "bn").train()
    modes = [module.training for module in model.modules()]
    images = batch(5)
    features = extract_features(model, [{"pixel_values": images[:3], "labels": torch.zeros(3)}, images[3:]])
    assert [module.training for module in model.modules()] == modes
    assert features.shape[0] == 5
    assert features.dtype == torch.float32
    assert not features.requires_grad
    model.eval()
    network: Any = getattr(model, "timm_model", model)
    if kind == "distilled":
        return
    classifier = network.get_classifier() if hasattr(network, "get_classifier") else list(model.modules())[-1]
    torch.testing.assert_close(classifier(features), logits(model, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_features_of_text_do_not_depend_on_padding(kind: str) -> None:
    torch.manual_seed(0)
    models = {
        "bert": lambda: BertForSequenceClassification(BertConfig(vocab_size=50, **TINY)),
        "distilbert": lambda: DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=50, dim=16, n_heads=2, n_layers=1, hidden_dim=16)
        ),
        "roberta": lambda: RobertaForSequenceClassification(
            RobertaConfig(vocab_size=50, pad_token_id=1, **TINY)
        ),
    }
    model = models[kind]()
    tokens = torch.tensor([[5, 6, 7]])
    short = extract_features(model, [{"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}])
    padded = torch.cat([tokens, torch.ones(1, 2, dtype=torch.long)], 1)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    long = extract_features(
        model, [{"input_ids": padded, "attention_mask": mask, "labels": torch.tensor([1])}]
    )
    assert short.shape == (1, 16)
    torch.testing.assert_close(long, short, rtol=1e-4, atol=1e-5)


def test_network_that_is_a_classifier_alone_has_its_input_as_features() -> None:
    layer = nn.Linear(4, 3)
    vectors = torch.randn(2, 4)
    assert head_parameter_names(layer) == {"weight", "bias"}
    assert torch.equal(extract_features(layer, [vectors]), vectors)
    assert all(parameter.requires_grad for parameter in freeze(layer, "backbone").parameters())


def test_no_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="no batches"):
        extract_features(plain(), [])


LORA = ("wrapped timm", "bare timm", "transformers vit", "plain")


@pytest.mark.parametrize("kind", LORA)
def test_adapters_train_alone_with_the_classifier_and_merge_to_the_same_function(kind: str) -> None:
    pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    model = MODELS[kind]()
    names, before = set(model.state_dict()), logits(model.eval(), batch()).detach()
    kept = type(model)
    add_lora(model, rank=2)
    assert type(model) is kept
    torch.testing.assert_close(logits(model, batch()), before)  # an adapter starts as nothing
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name for name in learning if "lora_" not in name} == head_parameter_names(model)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    trained = logits(model, batch()).detach()
    assert (trained - before).abs().max() > 1e-3
    merge_lora(model)
    assert set(model.state_dict()) == names
    assert all(value.requires_grad for value in model.parameters())
    torch.testing.assert_close(logits(model, batch()), trained, rtol=1e-3, atol=1e-4)


def test_checkpoint_keeps_adapters_apart_and_the_export_merges_them(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    model = add_lora(
        create_model("vit_tiny_patch16_224", num_labels=3, image_size=32), targets=["qkv"]
    ).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.1)
    model.save_pretrained(tmp_path / "checkpoint")
    other = add_lora(
        create_model("vit_tiny_patch16_224", num_labels=3, image_size=32), targets=["qkv"]
    ).eval()
    other.load_state_dict(load_file(tmp_path / "checkpoint/model.safetensors"), strict=True)
    expected = model(batch()).logits
    assert torch.equal(other(batch()).logits, expected)
    export_model(model, tmp_path / "run")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'run'}", pretrained=True).eval()
    torch.testing.assert_close(loaded(batch()), expected, rtol=1e-3, atol=1e-4)
    assert any("lora_A" in name for name in model.state_dict())


def bert() -> nn.Module:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=3, **TINY))


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_model_of_peft_is_exported_as_the_network_inside_with_its_adapters_merged(
    kind: str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    settings: dict[str, Any] = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]}
    config = (
        peft.LoraConfig(**settings, init_lora_weights=False)
        if kind == "lora"
        else peft.IA3Config(**settings, feedforward_modules=[], init_ia3_weights=False)
    )
    model = peft.get_peft_model(bert(), config).eval()
    names, tokens = set(model.state_dict()), torch.tensor([[2, 5, 7, 3]])
    expected = model(tokens).logits
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model.get_base_model().classifier.modules_to_save["default"].weight.zero_()
    export_model(model, tmp_path, state_dict=state)
    loaded = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(tokens).logits, expected, rtol=1e-3, atol=1e-4)
    assert set(model.state_dict()) == names


def test_adapters_of_peft_that_cannot_be_merged_are_written_as_peft_does(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    model, tokens = peft.get_peft_model(bert(), config).eval(), torch.tensor([[2, 5, 7, 3]])
    export_model(model, tmp_path)
    loaded = peft.PeftModel.from_pretrained(bert(), tmp_path).eval()
    torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits)


def peft_model(kind: str) -> nn.Module:
    peft = pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    lora = {"r": 2, "target_modules": ["query", "value"]}
    if kind == "timm":
        config = peft.LoraConfig(r=2, target_modules=["qkv"], modules_to_save=["head"])
        return peft.get_peft_model(create_model("test_vit", num_labels=3, image_size=32), config)
    if kind == "plain":
        config = peft.LoraConfig(r=2, target_modules=["0", "2", "4"])
        layers = [nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)]
        return peft.get_peft_model(nn.Sequential(*layers), config)
    if kind == "mixed":
        return peft.get_peft_model(
            bert(), peft.LoraConfig(**lora, modules_to_save=["classifier"]), mixed=True
        )
    if kind == "prompt":
        return peft.get_peft_model(bert(), peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2))
    return peft.get_peft_model(bert(), peft.LoraConfig(task_type="SEQ_CLS", **lora))


@pytest.mark.parametrize("kind", ["lora", "timm", "plain", "mixed", "prompt"])
def test_head_and_layers_of_a_model_of_peft_are_those_of_the_network_inside(kind: str) -> None:
    model = peft_model(kind)
    head, numbers = head_parameter_names(model), layer_numbers(model)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert head & learning
    assert all(
        part in name
        for name in head
        for part in {"timm": ["head."], "plain": [".4."]}.get(kind, ["classifier"])
    )
    groups = parameter_groups(
        model, learning_rate=0.1, weight_decay=0.1, layer_decay=0.5, head_learning_rate=0.7
    )
    names = [name for group in groups for name in group["param_names"]]
    assert sorted(names) == sorted(learning)
    for group in groups:
        assert all((name in head) == (group["lr"] == 0.7) for name in group["param_names"])
    first, second = (".0.", ".2.") if kind == "plain" else (".0.", ".1.")
    blocks = [name for name in numbers if name not in head and (first in name or second in name)]
    lower, upper = [name for name in blocks if first in name], [name for name in blocks if first not in name]
    assert max(numbers[name] for name in lower) < min(numbers[name] for name in upper)
    assert max(numbers[name] for name in upper) < min(numbers[name] for name in head)


def test_adapters_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft", reason="pip install 'jal_hf[lora]'")
    with pytest.raises(ValueError, match=r"No layer is called query; there are 0\."):
        add_lora(nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)), targets=["query"])
    with pytest.raises(ValueError, match="rank is 0"):
        add_lora(plain(), rank=0)
    with pytest.raises(ValueError, match="adapters already"):
        add_lora(add_lora(plain()))
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install 'jal_hf\[lora\]'"):
        add_lora(plain())
