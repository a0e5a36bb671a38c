"""A robust loss on tokens: what each token of real Python source is, 40 % of the labels wrong, padding skipped.

Run: python examples/token_classification.py
Nothing is downloaded: the source is that of Python's own library, the network is made from a configuration.
"""

from __future__ import annotations

import inspect
import io
import keyword
import textwrap
import tokenize
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import AutoModelForTokenClassification, FNetConfig, set_seed

from jal_hf import JALTrainer, JALTrainingArguments, create_loss, create_noise

KINDS = ("keyword", "name", "operator", "number", "string", "comment")
LENGTH, VOCABULARY, PADDING = 16, 400, -100


class Lines(Dataset[dict[str, torch.Tensor]]):
    """Lines of source as token ids (16) and kinds (16), both padded; padding has the label -100."""

    def __init__(self, tokens: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        self.tokens, self.labels = torch.from_numpy(tokens), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[row], "labels": self.labels[row]}


def kind_of(token: tokenize.TokenInfo) -> str | None:
    """The kind of a token, None for layout."""
    if token.type == tokenize.NAME:
        return "keyword" if keyword.iskeyword(token.string) else "name"
    kinds = {
        tokenize.OP: "operator",
        tokenize.NUMBER: "number",
        tokenize.STRING: "string",
        tokenize.COMMENT: "comment",
    }
    return kinds.get(token.type)


def load_lines() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Token ids and kinds (N, 16) of the lines of Python's `textwrap` and `tokenize` modules.

    Common tokens have ids of their own; of a rare one only its first character is known.
    """
    lines: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for number, module in enumerate((textwrap, tokenize)):
        for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(module)).readline):
            kind = kind_of(token)
            if kind is not None:
                lines.setdefault((number, token.start[0]), []).append((token.string, kind))
    words, counts = np.unique([word for line in lines.values() for word, _ in line], return_counts=True)
    frequent = words[counts >= 4][: VOCABULARY - 129]
    ids = {word: place for place, word in enumerate(frequent, start=129)}
    tokens = np.zeros((len(lines), LENGTH), dtype=np.int64)
    labels = np.full((len(lines), LENGTH), PADDING, dtype=np.int64)
    for row, line in enumerate(lines.values()):
        for place, (word, kind) in enumerate(line[:LENGTH]):
            tokens[row, place] = ids.get(word, 1 + min(ord(word[0]), 127))
            labels[row, place] = KINDS.index(kind)
    return tokens, labels


def token_accuracy(prediction: Any) -> dict[str, float]:
    counted = prediction.label_ids != PADDING
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids)[counted].mean())}


def main(
    loss: str = "jal-ce", epochs: int = 30, output_dir: str = "runs/example-tokens", seed: int = 0
) -> float:
    set_seed(seed)
    tokens, labels = load_lines()
    test = np.arange(len(labels)) % 2 == 0
    given = labels[~test].copy()
    counted = given != PADDING
    given[counted] = create_noise("symmetric:0.4", num_classes=len(KINDS)).corrupt(given[counted], seed=0)
    config = FNetConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=1,
        intermediate_size=256,
        max_position_embeddings=LENGTH,
        type_vocab_size=1,
        num_labels=len(KINDS),
        hidden_dropout_prob=0.0,
        initializer_range=0.1,
    )
    arguments = JALTrainingArguments(
        output_dir=output_dir,
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=256,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        save_strategy="no",
        logging_strategy="no",
        seed=seed,
        precision="fp32",
    )
    trainer = JALTrainer(
        model=AutoModelForTokenClassification.from_config(config),
        args=arguments,
        train_dataset=Lines(tokens[~test], given),
        eval_dataset=Lines(tokens[test], labels[test]),
        loss=create_loss(loss),
        compute_metrics=token_accuracy,
    )
    trainer.train()
    score = float(trainer.evaluate()["eval_accuracy"])
    print(f"{loss}: accuracy on clean test tokens {score:.3f}")
    return score


if __name__ == "__main__":
    main()
