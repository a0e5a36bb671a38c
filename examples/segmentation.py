"""A robust loss on semantic segmentation: scenes of scikit-learn's digits, 40 % of the digits labelled wrongly.

Run: python examples/segmentation.py
Nothing is downloaded: the digits ship with scikit-learn, the network is made from a configuration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from transformers import AutoModelForSemanticSegmentation, SegformerConfig, set_seed

from jal_hf import JALTrainer, JALTrainingArguments, create_loss, create_noise

DIGITS = (0, 1, 4, 6)
CLASSES = 1 + len(DIGITS)  # 0 is the ground
CELLS, SIDE = 4, 8
SIZE = CELLS * SIDE
UNKNOWN = -100  # skipped by the loss: rims of digits, and most of the ground, which would outweigh the rest


class Scenes(Dataset[dict[str, torch.Tensor]]):
    """Images (3, 32, 32) of 16 cells and masks (32, 32)."""

    def __init__(
        self, images: np.ndarray[Any, Any], classes: np.ndarray[Any, Any], scenes: int, seed: int
    ) -> None:
        generator = np.random.default_rng(seed)
        self.pixels = torch.zeros(scenes, 3, SIZE, SIZE)
        self.masks = torch.full((scenes, SIZE, SIZE), UNKNOWN)
        order = generator.permutation(scenes * CELLS * CELLS) % len(images)
        for cell, chosen in enumerate(order):
            if generator.random() < 0.4:
                continue
            scene, place = divmod(cell, CELLS * CELLS)
            top, left = (SIDE * part for part in divmod(place, CELLS))
            window = (scene, slice(top, top + SIDE), slice(left, left + SIDE))
            ink = torch.from_numpy(images[chosen])
            self.pixels[(window[0], slice(None), *window[1:])] = ink.float()
            mask = torch.full((SIDE, SIDE), UNKNOWN)
            mask[ink > 0.5] = int(classes[chosen])
            mask[(ink == 0.0) & torch.from_numpy(generator.random((SIDE, SIDE)) < 0.1)] = 0
            self.masks[window] = mask

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixels[row], "labels": self.masks[row]}


def digit_accuracy(prediction: Any) -> dict[str, float]:
    """Share of ink pixels given the right digit; the ground is easy and left out."""
    logits = torch.from_numpy(prediction.predictions)
    logits = torch.nn.functional.interpolate(logits, size=(SIZE, SIZE), mode="bilinear")
    ink = prediction.label_ids > 0
    return {"accuracy": float((logits.argmax(1).numpy() == prediction.label_ids)[ink].mean())}


def main(loss: str = "jal-ce", epochs: int = 30, output_dir: str = "runs/example-segmentation") -> float:
    set_seed(0)
    digits = load_digits()
    wanted = np.isin(digits.target, DIGITS)
    images = (digits.images[wanted] / 16.0).astype(np.float32)
    clean = np.searchsorted(DIGITS, digits.target[wanted])
    test = np.arange(len(clean)) % 4 == 0
    # Each digit is mislabelled once, for all its pixels and wherever it stands.
    noisy = create_noise("symmetric:0.4", num_classes=len(DIGITS)).corrupt(clean, seed=0)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[1, 1],
        hidden_sizes=[32, 64],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=64,
        initializer_range=0.1,
        classifier_dropout_prob=0.0,
        drop_path_rate=0.0,
        num_labels=CLASSES,
    )
    arguments = JALTrainingArguments(
        output_dir=output_dir,
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=64,
        learning_rate=4e-3,
        lr_scheduler_type="cosine",
        save_strategy="no",
        logging_strategy="no",
    )
    trainer = JALTrainer(
        model=AutoModelForSemanticSegmentation.from_config(config),
        args=arguments,
        train_dataset=Scenes(images[~test], 1 + noisy[~test], 64, seed=0),
        eval_dataset=Scenes(images[test], 1 + clean[test], 32, seed=1),
        loss=create_loss(loss),
        compute_metrics=digit_accuracy,
    )
    trainer.train()
    score = float(trainer.evaluate()["eval_accuracy"])
    print(f"{loss}: accuracy on the ink of clean test scenes {score:.3f}")
    return score


if __name__ == "__main__":
    main()
