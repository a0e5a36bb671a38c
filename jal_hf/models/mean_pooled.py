"""A text classifier that reads the mean of all tokens, as sentence encoders are trained to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from jal_hf.models.mean_pooled_config import MeanPooledConfig


class MeanPooledForSequenceClassification(PreTrainedModel):
    """An encoder of transformers, the mean of its last states over the tokens, dropout, and a linear classifier.

    The sequence classifiers of transformers read the first token, in which an encoder trained for sentences says
    little. After `import jal_hf`, `AutoModelForSequenceClassification` and `pipeline` load this class by its
    config.json. Source: Reimers and Gurevych, Sentence-BERT, EMNLP 2019 (mean pooling).
    """

    config_class = MeanPooledConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: MeanPooledConfig) -> None:
        super().__init__(config)
        inner = config.encoder_config
        self.encoder = _without_pooler(AutoModel.from_config(inner))
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(int(inner.hidden_size), int(config.num_labels))
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        name: str | os.PathLike[str],
        *,
        num_labels: int,
        id2label: Mapping[int, str] | None = None,
        label2id: Mapping[str, int] | None = None,
    ) -> MeanPooledForSequenceClassification:
        """A fresh classifier on a pretrained encoder; of a model of this class, its encoder.

        Args:
            name: folder or Hub id of an encoder with `hidden_size` and `last_hidden_state`.
            num_labels: K, at least 2.
            id2label: names of the classes by number.
            label2id: the same turned round.

        Raises:
            OSError, ValueError: There is no such encoder.
        """
        names: dict[str, Any] = {}
        if id2label is not None:
            names = {"id2label": dict(id2label), "label2id": dict(label2id or {})}
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if isinstance(config, MeanPooledConfig):
            encoder = cls.from_pretrained(name).encoder
        else:
            encoder = _without_pooler(AutoModel.from_pretrained(name, trust_remote_code=False))
        if not isinstance(getattr(encoder.config, "hidden_size", None), int):
            raise ValueError(
                f"{type(encoder).__name__} is no encoder with states of one width (hidden_size)."
            )
        settings = {key: value for key, value in encoder.config.to_dict().items() if key not in _NOT_SAVED}
        model = cls(MeanPooledConfig(settings, num_labels=num_labels, **names))
        model.encoder = encoder
        return model

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.classifier:
            nn.init.normal_(self.classifier.weight, std=0.02)
            nn.init.zeros_(self.classifier.bias)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (N, K) of token ids (N, T), or of `inputs_embeds` (N, T, d).

        Args:
            attention_mask: (N, T), 0 for padding, which no mean contains; None takes all tokens.
            token_type_ids: (N, T), for encoders that take them.
            labels: (N,) class numbers; then the cross entropy is `loss`.
            kwargs: what the encoder takes besides.
        """
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        ).last_hidden_state
        logits = self.classifier(self.dropout(mean_of_tokens(states, attention_mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


# Of the encoder's config: where it lay on this machine, and classes that are not these.
_NOT_SAVED = frozenset({"_name_or_path", "architectures", "id2label", "label2id"})


def mean_of_tokens(states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Mean (N, d) of states (N, T, d) over the tokens that `attention_mask` (N, T) does not call padding."""
    if attention_mask is None:
        return states.mean(dim=1)
    mask = attention_mask[..., None].to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _without_pooler(encoder: Any) -> Any:
    """An encoder without its layer on the first token, which nothing here reads and no loss would train."""
    if isinstance(getattr(encoder, "pooler", None), nn.Module):
        encoder.pooler = None
    return encoder


AutoModelForSequenceClassification.register(
    MeanPooledConfig, MeanPooledForSequenceClassification, exist_ok=True
)
