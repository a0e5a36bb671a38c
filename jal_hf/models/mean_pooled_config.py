"""The config of a text classifier that reads the mean of all tokens; registered in transformers on import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PretrainedConfig


class MeanPooledConfig(PretrainedConfig):
    """Config of `MeanPooledForSequenceClassification`.

    Args:
        encoder: the config of the encoder, as its `to_dict()` gives it.
        classifier_dropout: share of the pooled features that is set to zero in training.
        kwargs: those of every config of transformers, `num_labels` and `id2label` among them.
    """

    model_type = "mean-pooled"

    def __init__(
        self, encoder: Mapping[str, Any] | None = None, classifier_dropout: float = 0.1, **kwargs: Any
    ) -> None:
        self.encoder = dict(encoder or {})
        self.classifier_dropout = classifier_dropout
        super().__init__(**kwargs)

    @property
    def encoder_config(self) -> PretrainedConfig:
        """The encoder's config as an object. Raises ValueError where its kind is unknown to transformers."""
        settings = dict(self.encoder)
        kind = settings.pop("model_type", None)
        if not isinstance(kind, str):
            raise ValueError(
                "The config names no encoder: give encoder=AutoConfig.from_pretrained(NAME).to_dict()."
            )
        found: PretrainedConfig = AutoConfig.for_model(kind, **settings)
        return found


AutoConfig.register(MeanPooledConfig.model_type, MeanPooledConfig, exist_ok=True)
