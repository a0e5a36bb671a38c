"""Which axis of (N, ., .) logits holds the classes."""

from __future__ import annotations

import torch

from jal_hf.training.criterion import classes_second


def test_classes_are_second_unless_the_shape_says_otherwise() -> None:
    for classes, tokens in ((5, 7), (7, 5), (6, 6)):
        logits, labels = torch.randn(3, classes, tokens), torch.zeros(3, tokens, dtype=torch.int64)
        assert torch.equal(classes_second(logits, labels), logits)
    labels = torch.zeros(3, 7, dtype=torch.int64)
    logits = torch.randn(3, 7, 5)
    assert torch.equal(classes_second(logits, labels), logits.transpose(1, 2))


def test_classes_are_last_in_square_logits_of_a_token_classifier() -> None:
    logits, labels = torch.randn(3, 6, 6), torch.zeros(3, 6, dtype=torch.int64)
    assert torch.equal(classes_second(logits, labels, classes_last=True), logits.transpose(1, 2))
