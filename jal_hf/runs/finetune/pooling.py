"""Which of an encoder's states a text classifier reads: the mean of all tokens, or the first one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from tqdm.auto import tqdm
from transformers import AutoConfig, DataCollatorWithPadding

from jal_hf.ground.files import read_object
from jal_hf.models.mean_pooled import mean_of_tokens
from jal_hf.models.mean_pooled_config import MeanPooledConfig
from jal_hf.runs.texts import BATCH, Texts, to_accelerator

MEAN, FIRST, AUTO = "mean", "first", "auto"
POOLINGS = (AUTO, MEAN, FIRST)
_DECLARED = "1_Pooling/config.json"

Features = dict[str, npt.NDArray[np.float16]]
"""(N, d) each, by what is read."""


def check_pooling(pooling: str) -> None:
    """Raise ValueError for another word than `auto`, `mean` and `first`."""
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; choose one of {', '.join(POOLINGS)}.")


def declared_pooling(name: str | os.PathLike[str]) -> str | None:
    """What an encoder was trained to be read by, where its folder or repository says so; None where it does not.

    Sentence encoders have a file for it (sentence-transformers), and so has a run whose model reads the mean.
    """
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    if isinstance(config, MeanPooledConfig):
        return MEAN
    path = Path(name) / _DECLARED
    if not Path(name).is_dir():
        try:
            path = Path(hf_hub_download(str(name), _DECLARED))
        except (EntryNotFoundError, LocalEntryNotFoundError, HFValidationError):
            return None
    if not path.is_file():
        return None
    settings = read_object(path)
    if settings.get("pooling_mode_mean_tokens") is True or settings.get("pooling_mode") == MEAN:
        return MEAN
    is_first = settings.get("pooling_mode_cls_token") is True or settings.get("pooling_mode") == "cls"
    return FIRST if is_first else None


def encoder_features(model: Any, texts: Texts, tokenizer: Any, quiet: bool) -> Features:
    """The encoder's last states of each text: their mean over the tokens, and that of the first token."""
    encoder = to_accelerator(model.eval()).base_model
    collate = DataCollatorWithPadding(tokenizer)
    parts: dict[str, list[npt.NDArray[np.float16]]] = {MEAN: [], FIRST: []}
    with torch.inference_mode():
        for start in tqdm(range(0, len(texts), BATCH), desc="features", unit="batch", disable=quiet):
            rows = [texts[row] for row in range(start, min(start + BATCH, len(texts)))]
            batch = collate(
                [{k: v for k, v in row.items() if k in tokenizer.model_input_names} for row in rows]
            ).to(encoder.device)
            states = encoder(**batch).last_hidden_state.float()
            mask = batch["attention_mask"]
            first = mask.argmax(dim=1)  # not the padding that a tokenizer may put before the text
            parts[MEAN].append(mean_of_tokens(states, mask).cpu().numpy().astype(np.float16))
            parts[FIRST].append(
                states[torch.arange(len(first), device=states.device), first].cpu().numpy().astype(np.float16)
            )
    return {kind: np.concatenate(found) for kind, found in parts.items()}


def choose_pooling(
    asked: str, declared: str | None, mean: npt.NDArray[np.bool_], first: npt.NDArray[np.bool_]
) -> tuple[str, str]:
    """What the classifier reads, and why; the first token, as transformers' own classifiers do, unless there is cause.

    Args:
        asked: by the user; `auto` leaves the choice here.
        declared: as `declared_pooling`.
        mean: (N,) whether a probe on the mean agrees with each given label, out of fold.
        first: (N,) the same of a probe on the first token.
    """
    if asked != AUTO:
        return asked, "asked for"
    if declared is not None:
        return declared, "as the encoder was trained to be read"
    difference = mean.astype(float) - first.astype(float)
    ahead, error = 100 * float(difference.mean()), 100 * float(difference.std()) / len(difference) ** 0.5
    if ahead > error:
        return MEAN, f"a probe on it agrees with {ahead:.1f} points more of the labels it never saw"
    return FIRST, f"a probe on the mean is ahead by {ahead:.1f} points, within the error of {error:.1f}"
