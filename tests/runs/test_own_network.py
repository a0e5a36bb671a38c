"""A network of one's own, which tells neither its classes nor how its images are prepared."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
import torch
from torch import Tensor, nn

import jal_hf
from tests.runs.helpers import class_folders
from tests.runs.test_changed_data import QUICK


class Own(nn.Module):
    """Mean colour to classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.sides: set[int] = set()

    def forward(self, pixel_values: Tensor) -> Tensor:
        self.sides.add(pixel_values.shape[-1])
        logits: Tensor = self.head(pixel_values.mean((2, 3)))
        return logits


@pytest.mark.parametrize("way", ["train", "from_recipe"])
def test_plain_network_is_trained_by_a_recipe(way: str, tmp_path: Path) -> None:
    pictures = class_folders(tmp_path / "pictures", rows=10, test=4)
    data = datasets.load_dataset("imagefolder", data_dir=str(pictures))
    network = Own()
    changes = {name: value for name, value in QUICK.items() if name != "model"}
    changes |= {"num_train_epochs": 40, "learning_rate": 1.0, "output_dir": tmp_path / "run"}
    if way == "train":
        accuracy = jal_hf.train(data=dict(data), model=network, **changes).record.last["accuracy"]
    else:
        trainer = jal_hf.JALTrainer.from_recipe(
            "imagefolder", train_dataset=data["train"], eval_dataset=data["test"], model=network, **changes
        )
        trainer.train()
        accuracy = trainer.evaluate()["eval_accuracy"]
    assert network.sides == {16}
    assert accuracy == 1.0
    assert torch.isfinite(network.head.weight).all()
