"""A robust loss on text: which chapter of Python's own reference a few words come from, 40 % of the labels wrong.

Run: python examples/text_classification.py
Nothing is downloaded: the text ships with Python, the network is made from a configuration.
"""

from __future__ import annotations

import re
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import AutoModelForSequenceClassification, FNetConfig, set_seed

from jal_hf import JALTrainer, JALTrainingArguments, create_loss, create_noise

CHAPTERS = ("debugger", "specialnames", "typesseq", "formatstrings")
WORDS, STRIDE, BLOCK, VOCABULARY = 24, 8, 120, 1500


class Passages(Dataset[dict[str, torch.Tensor]]):
    """Windows of words as token ids; `labels` are what training sees."""

    def __init__(self, tokens: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        self.tokens, self.labels = torch.from_numpy(tokens), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[row], "labels": self.labels[row]}


def load_passages() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Token ids (N, 24), chapters (N,), and which windows are for testing; id 0 stands for rare words.

    Windows overlap within blocks of 120 words; every fourth block is for testing, so no word is in both parts.
    """
    chapters = [re.findall(r"[a-z_]+", topics[name].lower())[:4000] for name in CHAPTERS]
    names, counts = np.unique([word for words in chapters for word in words], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")[: VOCABULARY - 1]]
    ids = {word: number for number, word in enumerate(frequent, start=1)}
    tokens, labels, testing = [], [], []
    for label, words in enumerate(chapters):
        for block, first in enumerate(range(0, len(words) - BLOCK + 1, BLOCK)):
            for start in range(first, first + BLOCK - WORDS + 1, STRIDE):
                tokens.append([ids.get(word, 0) for word in words[start : start + WORDS]])
                labels.append(label)
                testing.append(block % 4 == 0)
    return np.asarray(tokens), np.asarray(labels), np.asarray(testing)


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main(loss: str = "jal-ce", epochs: int = 12, output_dir: str = "runs/example-text") -> float:
    set_seed(0)
    tokens, labels, test = load_passages()
    noisy = create_noise("symmetric:0.4", num_classes=len(CHAPTERS)).corrupt(labels[~test], seed=0)
    config = FNetConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=1,
        intermediate_size=128,
        max_position_embeddings=WORDS,
        type_vocab_size=1,
        num_labels=len(CHAPTERS),
        hidden_dropout_prob=0.0,
        initializer_range=0.1,
    )
    arguments = JALTrainingArguments(
        output_dir=output_dir,
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=256,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        save_strategy="no",
        logging_strategy="no",
    )
    trainer = JALTrainer(
        model=AutoModelForSequenceClassification.from_config(config),
        args=arguments,
        train_dataset=Passages(tokens[~test], noisy),
        eval_dataset=Passages(tokens[test], labels[test]),
        loss=create_loss(loss),
        compute_metrics=accuracy,
    )
    trainer.train()
    score = float(trainer.evaluate()["eval_accuracy"])
    print(f"{loss}: accuracy on clean test passages {score:.3f}")
    return score


if __name__ == "__main__":
    main()
