"""Which columns hold the images and the labels, and which splits are for training and testing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import datasets

from jal_hf.ground.sentences import did_you_mean, listed

IMAGE_NAMES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "picture", "photo")
LABEL_NAMES = ("label", "labels", "fine_label", "cls", "class", "target", "category", "y")
TEXT_NAMES = (
    "text", "sentence", "content", "review", "tweet", "message", "comment", "document", "body", "question",
)  # fmt: skip
EVAL_NAMES = ("test", "validation", "val", "valid", "dev", "eval")
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "eval": "validation", "evaluation": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""What folders and tables of a split are called, to the split's name."""
_RESERVED = ("clean_label", "index")


def _asked(kind: str, name: str, existing: Sequence[str]) -> str:
    if name in existing:
        return name
    hint = did_you_mean(name, existing)
    raise ValueError(f"There is no {kind} {name!r}.{hint} There are: {listed(existing)}.")


def find_image_column(features: datasets.Features, asked: str | None = None) -> str:
    """The column with the images: the one asked for, else by feature type, else by a usual name.

    Raises:
        ValueError: none or several fit; the sentence lists the columns.
    """
    if asked is not None:
        return _asked("image column", asked, list(features))
    typed = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not typed:
        typed = [name for name in IMAGE_NAMES if name in features and is_encoded_image(features[name])]
    if not typed:
        typed = [name for name, feature in features.items() if is_encoded_image(feature)]
    named = [name for name in IMAGE_NAMES if name in typed]
    if len(typed) == 1 or named:
        return str(named[0] if named else typed[0])
    reason = f"several columns hold images ({listed(typed)})" if typed else "no column holds images"
    texts = [] if typed else text_columns(features, next((n for n in LABEL_NAMES if n in features), None))
    hint = "Name it with image_column."
    if texts:
        hint = (
            f"Where {texts[0]!r} holds texts to be classified: jal-hf finetune DATA --task text --model ENCODER, or "
            "jal_hf.finetune(DATA, task='text', model=ENCODER)."
        )
    raise ValueError(f"The image column is unclear: {reason}. Columns: {listed(features)}. {hint}")


def text_columns(features: datasets.Features, label_column: str | None = None) -> list[str]:
    """The columns of texts beside the labels, those of a usual name first."""
    found = [
        name
        for name, feature in features.items()
        if name != label_column
        and isinstance(feature, datasets.Value)
        and feature.dtype in ("string", "large_string")
    ]
    return [
        *(name for name in TEXT_NAMES if name in found),
        *(name for name in found if name not in TEXT_NAMES),
    ]


def is_encoded_image(feature: Any) -> bool:
    """Whether a column is stored the way images are: binary, or a struct of bytes and path."""
    if isinstance(feature, datasets.Value):
        return feature.dtype in ("binary", "large_binary")
    return isinstance(feature, dict) and set(feature) == {"bytes", "path"}


@overload
def find_label_column(features: datasets.Features, asked: str | None = None) -> str: ...


@overload
def find_label_column(
    features: datasets.Features, asked: str | None = None, *, is_needed: bool
) -> str | None: ...


def find_label_column(
    features: datasets.Features, asked: str | None = None, *, is_needed: bool = True
) -> str | None:
    """The column with the labels: the one asked for, else the only ClassLabel, else by a usual name.

    Args:
        features: columns and their types.
        asked: name given by the user.
        is_needed: False gives None where no column is known to hold labels, as in rows for prediction.

    Raises:
        ValueError: none or several fit; the sentence lists the columns.
    """
    if asked is not None:
        return _asked("label column", asked, list(features))
    typed = [n for n, f in features.items() if isinstance(f, datasets.ClassLabel) and n not in _RESERVED]
    if len(typed) == 1:
        return str(typed[0])
    named = [name for name in LABEL_NAMES if name in (typed or features)]
    if named:
        return named[0]
    if not typed and not is_needed:
        return None
    reason = (
        f"several columns hold class labels ({listed(typed)})"
        if typed
        else "no column is known to hold labels"
    )
    raise ValueError(
        f"The label column is unclear: {reason}. Columns: {listed(features)}. Name it with label_column."
    )


def choose_splits(
    existing: Sequence[str], train: str | None = None, evaluation: str | None = None
) -> tuple[str, str | None]:
    """Names of the split to train on and the split to test on (None where there is none).

    Raises:
        ValueError: an asked split is absent, no training split is evident, or both are the same.
    """
    if train is not None:
        train = _asked("split", train, existing)
    elif "train" in existing:
        train = "train"
    elif len(existing) == 1 and evaluation is None:
        train = existing[0]
    else:
        raise ValueError(
            f"The dataset has no split 'train'; it has {listed(existing)}. Name one with train_split."
        )
    if evaluation is not None:
        evaluation = _asked("split", evaluation, existing)
        if evaluation == train:
            raise ValueError(
                f"Training and evaluation would both use the split {train!r}; name different splits, or "
                f"hold rows "
                "back with val_fraction."
            )
        return train, evaluation
    others = [name for name in EVAL_NAMES if name in existing and name != train]
    return train, others[0] if others else None


def find_validation_split(existing: Sequence[str], taken: Sequence[str]) -> str | None:
    """The split of validation rows, by its usual names, that is not taken already; None where there is none."""
    found = [name for name in existing if SPLIT_NAMES.get(name.lower()) == "validation" and name not in taken]
    return "validation" if "validation" in found else next(iter(found), None)
