"""A loop of your own under Accelerate: one process or many, with a robust loss.

Run: accelerate launch examples/accelerate_loop.py
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from jal_hf import create_loss, create_noise


def main(loss: str = "jal-ce", epochs: int = 40) -> float:
    accelerator = Accelerator()
    set_seed(0)
    digits = load_digits()
    given = create_noise("symmetric:0.4", num_classes=10).corrupt(digits.target, seed=0)
    images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
    test = torch.arange(len(images)) % 5 == 0
    train_set = TensorDataset(images[~test], torch.from_numpy(given)[~test])
    test_set = TensorDataset(images[test], torch.tensor(digits.target)[test])

    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model, optimizer, batches, test_batches = accelerator.prepare(
        model, optimizer, DataLoader(train_set, 64, shuffle=True), DataLoader(test_set, 64)
    )
    criterion = create_loss(loss)
    for _ in range(epochs):
        for pixels, labels in batches:
            optimizer.zero_grad()
            accelerator.backward(criterion(model(pixels), labels))
            optimizer.step()

    right = total = 0
    for pixels, labels in test_batches:
        predicted, labels = accelerator.gather_for_metrics((model(pixels).argmax(1), labels))
        right, total = right + int((predicted == labels).sum()), total + len(labels)
    accelerator.print(f"{loss}: clean test accuracy {right / total:.3f} on {total} images")
    return right / total


if __name__ == "__main__":
    main()
