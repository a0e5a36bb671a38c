"""The stock `transformers.Trainer` with a robust loss through `compute_loss_func`, correct under accumulation.

Run: python examples/stock_trainer.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from jal_hf import as_compute_loss_func, create_loss, create_noise


def collate(rows: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {
        "pixel_values": torch.stack([row[0] for row in rows]),
        "labels": torch.stack([row[1] for row in rows]),
    }


def main(output_dir: str = "runs/example-stock-trainer", epochs: float = 20, loss: str = "jal-ce") -> float:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    given = torch.from_numpy(create_noise("symmetric:0.4", num_classes=10).corrupt(digits.target, seed=0))
    clean = torch.tensor(digits.target)
    test = torch.arange(len(clean)) % 5 == 0

    config = ViTConfig(
        image_size=8, patch_size=2, num_channels=1, num_labels=10,
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = Trainer(
        model=ViTForImageClassification(config),
        args=TrainingArguments(
            output_dir=output_dir,
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=2,
            learning_rate=5e-4,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=TensorDataset(images[~test], given[~test]),
        data_collator=collate,
        compute_loss_func=as_compute_loss_func(create_loss(loss)),
    )
    trainer.train()
    logits = trainer.predict(TensorDataset(images[test], clean[test])).predictions
    accuracy = float((logits.argmax(1) == clean[test].numpy()).mean())
    print(f"{loss}: clean test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
