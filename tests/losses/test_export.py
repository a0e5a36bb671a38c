"""Networks that hold their loss: exported with a batch of any size, saved, and built before their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig, PreTrainedModel

from jal_hf.losses import RobustLoss, create_loss, list_losses

K = 5
WEIGHT = [1.0, 2.0, 3.0, 0.5, 0.0]


class Scored(torch.nn.Module):
    def __init__(self, loss: RobustLoss) -> None:
        super().__init__()
        self.net = torch.nn.Linear(4, K)
        self.loss = loss

    def forward(
        self, x: torch.Tensor, target: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        found: torch.Tensor = self.loss(self.net(x), target, rows)
        return found


def _exported_beside_own(
    loss: RobustLoss, *, soft: bool = False, weighted: bool = False
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What the exported network and the network itself give, for batches of several sizes."""

    def batch(rows: int) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(rows)
        target = torch.randint(K, (rows,), generator=generator)
        if soft:
            target = torch.softmax(torch.randn(rows, K, generator=generator), dim=1)
        else:
            target[1] = -100
        weights = (torch.rand(rows, generator=generator),) if weighted else ()
        return torch.randn(rows, 4, generator=generator), target, *weights

    model = Scored(loss)
    rows = torch.export.Dim("rows")
    shapes = tuple({0: rows} for _ in batch(6))
    exported = torch.export.export(model, batch(6), dynamic_shapes=shapes).module()
    return [(exported(*batch(count)), model(*batch(count))) for count in (2, 6, 9)]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_loss_is_exported_with_a_batch_of_any_size(reduction: str) -> None:
    plain, weighted = (create_loss("jal-ce", reduction=reduction, weight=weight) for weight in (None, WEIGHT))
    pairs = _exported_beside_own(plain) + _exported_beside_own(weighted, weighted=True)
    pairs += _exported_beside_own(plain, soft=True)
    assert len(pairs) == 9
    for exported, own in pairs:
        torch.testing.assert_close(exported, own)


@pytest.mark.parametrize("name", ["anl-fl", "nce+agce", "efl+mae", "ldr", "sce", "amse"])
def test_every_kind_of_loss_is_exported_with_a_batch_of_any_size(name: str) -> None:
    pairs = _exported_beside_own(create_loss(name))
    assert len(pairs) == 3
    for exported, own in pairs:
        torch.testing.assert_close(exported, own)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_loss_that_draws_is_exported_with_a_batch_of_any_size(reduction: str) -> None:
    loss = create_loss("nlnl", ln_neg=2, class_counts=[1, 2, 3, 4, 5], reduction=reduction)
    with loss.drawing(3):
        pairs = _exported_beside_own(loss)
    assert len(pairs) == 3
    for exported, own in pairs:
        torch.testing.assert_close(exported, own)


class NoisyConfig(PretrainedConfig):  # type: ignore[misc]
    model_type = "noisy-for-a-test"


class NoisyNetwork(PreTrainedModel):  # type: ignore[misc]
    config_class = NoisyConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.net = torch.nn.Linear(4, K)
        self.loss = create_loss("jal-ce", weight=WEIGHT)
        self.post_init()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"logits": logits, "loss": self.loss(logits, labels)}


def test_weighted_loss_of_a_pretrained_network_is_loaded_with_its_weights(tmp_path: Path) -> None:
    network = NoisyNetwork(NoisyConfig())
    network.save_pretrained(tmp_path)
    loaded = NoisyNetwork.from_pretrained(tmp_path)
    assert loaded.loss.weight.tolist() == WEIGHT
    x, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 4, 2])
    assert torch.equal(loaded(x, labels)["loss"], network(x, labels)["loss"])


@pytest.mark.parametrize("name", list_losses())
def test_loss_is_built_where_tensors_have_no_numbers(name: str) -> None:
    with torch.device("meta"):
        loss = create_loss(name, weight=WEIGHT)
    assert loss.weight is not None
    assert loss.weight.device.type == "cpu"
    assert loss.weight.tolist() == WEIGHT
    logits, labels = torch.randn(6, K), torch.tensor([0, 1, 2, 3, 4, 2])
    assert torch.equal(loss(logits, labels), create_loss(name, weight=WEIGHT)(logits, labels))


def test_class_weights_follow_their_network_and_the_logits() -> None:
    loss = create_loss("jal-ce", weight=WEIGHT)
    assert not loss.state_dict()
    logits, labels = torch.randn(6, K, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 2])
    expected = loss(logits, labels)
    network = torch.nn.ModuleList([loss]).double()
    assert loss.weight is not None
    assert loss.weight.dtype is torch.float64
    assert torch.equal(loss(logits, labels), expected)
    assert network.to("meta")[0].weight.is_meta
    # A network that is spread over devices leaves the loss where it is.
    there = create_loss("jal-ce", weight=WEIGHT)
    assert there(logits.to("meta"), labels.to("meta")).is_meta
    assert there(logits.to("meta"), torch.full((6, K), 1 / K, device="meta")).is_meta


def test_class_weight_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no numbers"):
        create_loss("ce", weight=torch.ones(K, device="meta"))
    with pytest.raises(ValueError, match="finite numbers"), torch.device("meta"):
        create_loss("ce", weight=[1.0, -1.0])
