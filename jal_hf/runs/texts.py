"""The texts of a run, and its model as a classifier of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from jal_hf.analysis.predictions import softmax
from jal_hf.data.arguments import DataArguments
from jal_hf.data.column_values import integer_column
from jal_hf.data.text import load_text_dataset, table_texts
from jal_hf.ground.files import read_object
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.ground.sentences import listed, shortened
from jal_hf.models.sources import check_saved_model
from jal_hf.runs.config import RunConfig
from jal_hf.runs.prediction import Prediction
from jal_hf.runs.values import checked_value

TASK = "text-classification"
LONGEST, BATCH = 128, 64
"""Tokens of a text that are read at most where nothing else was asked; texts at a time."""


_NOT_OF_TEXTS = (
    "image_column", "num_classes", "streaming", "noise", "noise_seed", "image_size", "image_mean", "image_std",
    "augment", "on_bad_image",
)  # fmt: skip
_METHODS_OF_IMAGES = ("mixup", "cutmix")


class Texts(Dataset[dict[str, Any]]):
    """Rows as token ids, to be padded batch by batch; `columns` holds the numbers of all rows, for methods."""

    def __init__(self, rows: Any, tokenizer: Any, weights: Sequence[float] | None = None) -> None:
        self.tokens = tokenizer(list(rows["text"]), truncation=True)
        self.labels, self.index = integer_column(rows, "label"), integer_column(rows, "index")
        self.columns = {"index": torch.tensor(self.index)}
        self.weights = weights

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        found = {name: values[row] for name, values in self.tokens.items()}
        found |= {"labels": int(self.labels[row]), "index": int(self.index[row])}
        return found if self.weights is None else {**found, "sample_weight": float(self.weights[row])}


def text_data(config: RunConfig, given: Any, text_column: str | None) -> Any:
    """Checked splits of a config's dataset, rows held back for validation among them.

    Raises:
        ValueError: Something is asked for that only images have; or as `load_text_dataset`.
    """
    data, usual = config.data, DataArguments()
    mixing = [name for name in str(config.training.get("method")).split("+") if name in _METHODS_OF_IMAGES]
    if mixing:
        raise ValueError(
            f"Training on text takes no method {listed(mixing)}, which mixes images. Leave it out."
        )
    unfit = [
        name for name in _NOT_OF_TEXTS if config.asked.get(name, getattr(usual, name)) != getattr(usual, name)
    ]
    if unfit:
        raise ValueError(
            f"Training on text takes no {listed(unfit)}: labels are used as they are, and there are no images. "
            "Leave it out."
        )
    return load_text_dataset(
        data.dataset if given is None else given,
        text_column=text_column,
        label_column=data.label_column,
        dataset_config=data.dataset_config,
        train_split=data.train_split,
        eval_split=data.eval_split,
        max_train_samples=data.max_train_samples,
        max_eval_samples=data.max_eval_samples,
        val_fraction=data.val_fraction,
        own_validation="val_fraction" not in config.asked,
        unlabelled=data.unlabelled,
        seed=config.seed,
    )


def is_text_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run, or a checkpoint of transformers, that classifies texts."""
    config = Path(folder) / "config.json"
    if not config.is_file():
        return False
    kinds = read_object(config).get("architectures")
    return isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)


def texts_of_table(run: str | os.PathLike[str], path: str | os.PathLike[str]) -> list[str]:
    """The texts of a table by row, from the column that the run was trained on where the table has it.

    Raises:
        As `table_texts`.
    """
    column = None
    if (Path(run) / RECORD).is_file():
        column = (RunRecord.read(run).finetune or {}).get("text_column")
    return table_texts(Path(path), column)


def load_text_classifier(folder: str | os.PathLike[str]) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer) of a finished run on text.

    Raises:
        FileNotFoundError: The folder holds no model.
        ValueError: It cannot be loaded.
    """
    check_saved_model(Path(folder), str(folder))
    length = _read_length(Path(folder))
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
        tokenizer = fitting_tokenizer(folder, model, length)
    except (ValueError, TypeError, RuntimeError, LookupError, OSError, SafetensorError) as error:
        reason = shortened(str(error).strip().partition("\n")[0], 200)
        raise ValueError(f"The model in {folder} cannot be loaded: {reason}") from error
    return model.eval(), tokenizer


def check_encoder_config(name: str) -> None:
    """Find an encoder that isn't there before any data is loaded.

    Raises:
        ValueError: The name is none of a folder or repository with a config of transformers.
    """
    try:
        AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise no_encoder(name, error) from error


def no_encoder(name: str, error: Exception) -> ValueError:
    """The refusal of an encoder that cannot be loaded."""
    reason = shortened(str(error).strip().partition("\n")[0], 200)
    if name.startswith((".", "/", "~")) and not Path(name).is_dir():
        reason = "there is no such folder"
    return ValueError(f"{name!r} has no tokenizer and encoder of transformers: {reason}")


def fitting_tokenizer(name: str | os.PathLike[str], model: nn.Module, length: int | None = None) -> Any:
    """A tokenizer that cuts texts to its `model_max_length`: no more tokens than its model has places for.

    Args:
        name: Of the tokenizer: a folder or Hub id.
        model: Whose places count.
        length: Tokens that are read at most; default 128.

    Raises:
        OSError, ValueError: There is none.
    """
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    encoder: Any = getattr(model, "base_model", model)
    places = [int(getattr(encoder.config, "max_position_embeddings", None) or 0)]
    for path, layer in model.named_modules():
        if path.endswith("position_embeddings") and isinstance(layer, nn.Embedding):
            # Those of RoBERTa's kind begin to count behind the place of padding.
            places.append(layer.num_embeddings - (0 if layer.padding_idx is None else layer.padding_idx + 1))
    tokenizer.model_max_length = min(
        [length or LONGEST, tokenizer.model_max_length, *(count for count in places if count > 0)]
    )
    return tokenizer


def _read_length(folder: Path) -> int | None:
    """How many tokens of a text a run was asked to read; None where its record says nothing."""
    if not (folder / RECORD).is_file():
        return None
    data = (RunRecord.read(folder).config or {}).get("data") or {}
    length: int | None = checked_value("max_length", data.get("max_length"), f"The record in {folder}")
    return length


def to_accelerator(model: Any) -> Any:
    """The model itself, on the GPU where there is one."""
    return model.to("cuda") if torch.cuda.is_available() else model


def text_logits(
    model: Any, tokenizer: Any, texts: Sequence[str], *, size: int = BATCH, what: str | None = None
) -> npt.NDArray[np.float64]:
    """(N, K) logits of texts, in order.

    Args:
        size: Texts at a time.
        what: Name of the work on a progress bar; None shows none.
    """
    found = [np.zeros((0, model.config.num_labels))]
    to_accelerator(model)
    with torch.inference_mode():
        for start in tqdm(range(0, len(texts), size), desc=what, unit="batch", disable=what is None):
            batch = tokenizer(
                list(texts[start : start + size]),
                truncation=True,
                padding=True,
                return_tensors="pt",
            )
            found.append(model(**batch.to(model.device)).logits.double().cpu().numpy())
    return np.concatenate(found)


def predict_texts(
    run: str | os.PathLike[str], texts: Sequence[str], *, batch_size: int = BATCH
) -> list[Prediction]:
    """The class of each text, `label`, and how sure the model is of it, `score` in [0, 1], in order.

    Args:
        run: Folder of a finished run on text.
        texts: Of which as many tokens are read as in training, 128 unless the run was asked for others.
        batch_size: Texts at a time.

    Raises:
        As `load_text_classifier`.
    """
    model, tokenizer = load_text_classifier(run)
    probabilities = softmax(text_logits(model, tokenizer, texts, size=batch_size, what="classifying"))
    names = model.config.id2label
    return [
        {"label": str(names[best]), "score": float(row[best])}
        for row, best in zip(probabilities, probabilities.argmax(axis=1).tolist(), strict=True)
    ]
