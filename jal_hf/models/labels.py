"""Class names of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any


def resolve_class_names(num_labels: int, class_names: Sequence[str] | None) -> list[str]:
    """`class_names` checked against `num_labels`, or `LABEL_0` onwards as transformers names them.

    Raises:
        TypeError: when a name is not text.
        ValueError: when the counts differ, a name comes twice, or there are fewer than 2 classes.
    """
    if num_labels < 2:
        raise ValueError(f"num_labels is {num_labels}; a classifier needs at least 2 classes.")
    if class_names is None:
        return [f"LABEL_{label}" for label in range(num_labels)]
    names = list(class_names)
    if len(names) != num_labels:
        raise ValueError(
            f"num_labels is {num_labels}, yet there are {len(names)} class names ({_shorten(names)}). "
            "Give as many names as classes, or leave one of the two out."
        )
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"Class names must be text; got {wrong[0]!r}. Write them as strings.")
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"Class names must differ; {_shorten(twice)} come more than once.")
    return names


def name_classes(config: Any, names: Sequence[str]) -> None:
    """Write the classes' names into a config of transformers."""
    config.id2label = dict(enumerate(names))
    config.label2id = {name: label for label, name in enumerate(names)}


def _shorten(names: Sequence[object], limit: int = 5) -> str:
    shown = ", ".join(str(name) for name in names[:limit])
    return shown + (", ..." if len(names) > limit else "")
