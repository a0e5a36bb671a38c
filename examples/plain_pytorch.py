"""A robust loss in plain PyTorch: one line differs from a loop with cross entropy.

Run: python examples/plain_pytorch.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

from jal_hf import create_loss, create_noise


def main(loss: str = "jal-ce", epochs: int = 60) -> float:
    digits = load_digits()
    noise = create_noise("symmetric:0.4", num_classes=10)
    images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
    clean = torch.tensor(digits.target)
    given = torch.from_numpy(noise.corrupt(digits.target, seed=0))
    train, test = torch.arange(len(clean)) % 5 != 0, torch.arange(len(clean)) % 5 == 0

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    criterion = create_loss(loss)  # in place of nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(int(train.sum())).split(64):
            optimizer.zero_grad()
            criterion(model(images[train][rows]), given[train][rows]).backward()
            optimizer.step()
    accuracy = (model(images[test]).argmax(1) == clean[test]).float().mean().item()
    print(f"{loss}: clean test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main("ce")
    main("jal-ce")
